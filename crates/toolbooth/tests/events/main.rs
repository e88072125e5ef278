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
mod undecided;

use std::task::Poll;

use support::laws::every_layer;
use support::{Recorder, ScriptedTool, call, error_of, ms, streams, text_of, ticking};
use toolbooth::{
    BoxError, CancelReason, CatchPanicLayer, ConcurrencyLimitLayer, Event, EventKind, EventsLayer,
    Outcome, TimeoutLayer, ToolCall, ToolError, ToolOutput,
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

/// Records its drop.
struct Guard(Recorder<()>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.record(());
    }
}

#[tokio::test(start_paused = true)]
async fn inner_future_is_dropped_in_the_poll_that_completes_it_without_a_sink() {
    let drops = Recorder::new();
    let guarded = drops.clone();
    let tool = ScriptedTool::new(move |_: ToolCall| {
        let guard = Guard(guarded.clone());
        std::future::poll_fn(move |_| {
            let _ = &guard;
            Poll::Ready(Ok::<_, BoxError>(ToolOutput::text("done")))
        })
    });
    let mut running = tokio_test::task::spawn(EventsLayer::off().layer(tool).call(call()));
    tokio_test::assert_ready_ok!(running.poll());
    assert_eq!(drops.len(), 1);
    assert!(running.poll().is_pending());
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
