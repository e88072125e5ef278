//! The recorder of calls and its outputs, on the paused clock.

mod bounds;
mod edges;
mod hostile;
mod records;
mod rules;
mod scenarios;

use std::convert::Infallible;
use std::time::SystemTime;

use serde_json::{Value, json};
use tokio::time::sleep;
use toolbooth::{
    BoxError, CallContext, ConcurrencyLimitLayer, Event, EventKind, EventSink, EventsLayer, Name,
    Outcome, RetryPolicy, TimeoutLayer, tool_fn,
};
use toolbooth_test::{BoxTool, CallFactory, boxed, call, call_all, ms};
use toolbooth_tests::Layers;
use toolbooth_timeline::{CallRecord, Phase, PhaseKind, Recorder, Timeline};
use tower::retry::RetryLayer;
use tower::{Layer, ServiceBuilder, ServiceExt};

use crate::rules::assert_trace;

/// A tool that sleeps for the milliseconds of its argument.
fn sleeps(name: &str) -> BoxTool {
    boxed(tool_fn(name.to_owned(), async |millis: u64| {
        sleep(ms(millis)).await;
        Ok::<_, Infallible>("done")
    }))
}

/// Returns the trace of a timeline, whose wall clock does not differ between runs.
fn trace(mut timeline: Timeline) -> String {
    timeline.origin = SystemTime::UNIX_EPOCH;
    let trace = timeline.to_trace_json();
    assert_trace(&trace);
    trace
}

/// Returns the phases as `(kind, start, end)` in milliseconds.
fn phases(call: &CallRecord) -> Vec<(PhaseKind, u128, Option<u128>)> {
    let phases = call.phases.iter();
    phases
        .map(|phase: &Phase| {
            (
                phase.kind,
                phase.start.as_millis(),
                phase.end.map(|end| end.as_millis()),
            )
        })
        .collect()
}

/// Returns an event of a call that has no attempt yet.
fn event(serial: u64, tool: &str, kind: EventKind) -> Event {
    let mut event = Event::of_layer(kind);
    event.call_id = Some(Name::from(format!("call-{serial}")));
    event.serial = serial;
    event.tool = Some(tool.into());
    event.attempt = 1;
    event
}

fn invoked(parent_serial: Option<u64>) -> EventKind {
    EventKind::Invoked {
        tenant: None,
        parent: None,
        parent_serial,
        deadline: None,
        arguments: None,
    }
}

const COMPLETED: EventKind = EventKind::Completed {
    is_error: false,
    contents: None,
};
