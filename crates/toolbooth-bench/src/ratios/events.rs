//! The five layers inside of an events layer: without a sink, and with each kind of sink.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use toolbooth::events::{MetricsSink, TracingSink, channel};
use toolbooth::{Event, EventSink, EventsLayer, ToolCall};
use toolbooth_bench::stacks::{call, five, five_with_events_off};
use toolbooth_bench::tools::AtOnce;
use toolbooth_timeline::Recorder;
use tower::{Layer, Service};

use crate::contender::{Contender, count, rounds};
use crate::measure::{Spread, instructions_of_one, ratio_of};
use crate::report::Report;
use crate::{CALLS, ROUNDS};

pub(crate) fn run(report: &mut Report) {
    instructions(report);
    let mut without = Contender::of(|| five(AtOnce), call);
    let mut off = Contender::of(|| five_with_events_off(AtOnce), call);
    let mut closure = Contender::of(|| with(counter()), call);
    let (sink, receiver) = channel(16);
    let receiver = RefCell::new(receiver);
    let mut bounded = Contender::of(
        || with(sink),
        move || {
            // The consumer, on the same thread.
            while receiver.borrow_mut().try_recv().is_some() {}
            call()
        },
    );
    let mut metrics = Contender::of(|| with(MetricsSink::new()), call);
    let mut recorder = Contender::of(|| with(Recorder::new()), call);
    let mut spans = Contender::of(|| with(TracingSink::new()), call);
    rounds(
        ROUNDS,
        CALLS,
        &mut [
            &mut without,
            &mut off,
            &mut closure,
            &mut bounded,
            &mut metrics,
            &mut recorder,
            &mut spans,
        ],
    );
    report.nanos("five", &without);
    for (name, contender) in [
        ("events_off_time", &off),
        ("events_closure", &closure),
        ("events_channel", &bounded),
        ("events_metrics", &metrics),
        ("events_recorder", &recorder),
        ("events_spans_off", &spans),
    ] {
        report.ratio(name, ratio_of(contender, &without));
        report.nanos(name, contender);
    }
    count(report, "events_off", || five_with_events_off(AtOnce), call);
    count(report, "events_closure", || with(counter()), call);
    count(report, "events_metrics", || with(MetricsSink::new()), call);
    count(report, "events_recorder", || with(Recorder::new()), call);
}

/// Divides the instructions of a call with an events layer without a sink by those of a call
/// without the layer. Skipped without valgrind.
fn instructions(report: &mut Report) {
    const FEW: u32 = 10_000;
    let [without, off] = ["five", "five_events_off"].map(|stack| instructions_of_one(stack, FEW));
    if let (Some(without), Some(off)) = (without, off) {
        report.ratio("events_off", Spread::of([off / without].into_iter()));
        report.instructions("five", without, without);
        report.instructions("five_events_off", off, off);
    }
}

fn with(sink: impl EventSink) -> impl Service<ToolCall, Error: std::fmt::Debug> {
    EventsLayer::new(sink).layer(five(AtOnce))
}

/// Returns the least that a sink can do.
fn counter() -> impl EventSink {
    let count = Arc::new(AtomicU64::new(0));
    move |_: &Event| {
        count.fetch_add(1, Ordering::Relaxed);
    }
}
