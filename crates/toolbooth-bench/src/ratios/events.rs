//! The five layers inside of an events layer: without a sink, and with each kind of sink.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use toolbooth::events::channel;
use toolbooth::{Event, EventSink, EventsLayer, ToolCall};
use toolbooth_bench::stacks::{call, five, five_with_events_off};
use toolbooth_bench::tools::AtOnce;
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
    rounds(
        ROUNDS,
        CALLS,
        &mut [&mut without, &mut off, &mut closure, &mut bounded],
    );
    report.ratio("events_off_time", ratio_of(&off, &without));
    report.ratio("events_closure", ratio_of(&closure, &without));
    report.ratio("events_channel", ratio_of(&bounded, &without));
    for (name, contender) in [
        ("five", &without),
        ("five_events_off", &off),
        ("five_events_closure", &closure),
        ("five_events_channel", &bounded),
    ] {
        report.nanos(name, contender);
    }
    count(
        report,
        "five_events_off",
        || five_with_events_off(AtOnce),
        call,
    );
    count(report, "five_events_closure", || with(counter()), call);
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
