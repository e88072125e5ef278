//! `EventsLayer`: the events of a call, its terminal event, its sinks, and its spans.

#[path = "../support/mod.rs"]
mod support;

mod contents;
mod ends;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "metrics")]
mod metrics_layers;
#[cfg(feature = "metrics")]
mod metrics_orders;
mod recorded;
#[cfg(feature = "metrics")]
#[path = "../support/metrics.rs"]
mod recorded_metrics;
mod sinks;
mod span_contents;
mod span_ends;
mod span_follows;
mod span_levels;
mod span_parents;
mod span_waits;
mod spans;
mod starts;

use support::laws::every_layer;
use support::{Recorder, ScriptedTool, call, error_of, ms, streams, text_of, ticking};
use toolbooth::{
    CancelReason, CatchPanicLayer, ConcurrencyLimitLayer, Event, EventKind, EventsLayer, Outcome,
    TimeoutLayer, ToolCall, ToolError, ToolOutput,
};
use tower::{Layer, Service, ServiceExt};

every_layer!(EventsLayer::new(|_: &Event| {}));

/// The call is as without the layer.
#[tokio::test(start_paused = true)]
async fn call_passes_by_a_layer_without_a_sink() {
    let (inner, events) = recorded();
    let tool = inner.layer(ConcurrencyLimitLayer::new(1).layer(ScriptedTool::ready()));
    let stack = EventsLayer::off().layer(tool);
    let call = call();
    let context = call.context().clone();
    text_of(stack, call).await;
    assert_eq!((events.len(), context.attempt()), (3, 1));
    // A layer that is not entered does not convert errors, which have no call.
    let tool = support::fails(ToolError::failed("down"));
    let failed = error_of(EventsLayer::off().layer(tool), toolbooth_test::call("tool")).await;
    assert_eq!(failed.call_id(), None);
}

/// A layer, and what records its events.
fn recorded() -> (EventsLayer, Recorder<Event>) {
    let events = Recorder::new();
    (EventsLayer::new(events.sink()), events)
}

/// The terminal event, which must be the only one.
fn terminal(events: &Recorder<Event>) -> EventKind {
    let kinds = events.values().into_iter().map(|event| event.kind);
    let terminal: Vec<_> = kinds.filter(EventKind::is_terminal).collect();
    let [terminal] = &terminal[..] else {
        unreachable!("not one terminal event: {terminal:?}");
    };
    terminal.clone()
}
