//! A layer that is written with the public module `middleware` alone: the audit layer of the guide.
//!
//! It composes with the other layers in every order, and releases its permit however a call ends.

#[expect(
    unreachable_pub,
    reason = "the code of the guide, which shows no more than it needs"
)]
#[path = "../../docs/audit_layer.rs"]
mod audit_layer;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use audit_layer::{AuditLayer, Record};
use futures_util::{FutureExt, StreamExt, stream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use toolbooth::{
    BoxError, CatchPanicLayer, CircuitBreakerLayer, CleanupLayer, ConcurrencyLimitLayer,
    ContentStream, Event, EventKind, EventsLayer, Outcome, PartialResultLayer, SpawnLayer,
    TimeoutLayer, ToolOutput,
};
use toolbooth_test::{BoxTool, Recorder, ScriptedTool, boxed, call, ms, orders};
use tower::{Layer, ServiceExt};

/// A layer of the stacks. `Audit` is the one that is tested.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Audit,
    Timeout,
    Concurrency,
    Breaker,
    Cleanup,
    Partial,
    CatchPanic,
    Spawn,
}

use Kind::{Audit, Breaker, CatchPanic, Cleanup, Concurrency, Partial, Spawn, Timeout};

struct Fixture {
    layer: AuditLayer,
    records: Receiver<Record>,
}

impl Fixture {
    fn new() -> Self {
        let permits = Arc::new(Semaphore::new(2));
        let (sender, records) = channel();
        Self {
            layer: AuditLayer {
                permits,
                records: sender,
            },
            records,
        }
    }

    /// Wraps a tool in the layers, the outermost first.
    fn stack(&self, order: &[Kind], tool: ScriptedTool) -> BoxTool {
        let innermost_first = order.iter().rev();
        innermost_first.fold(boxed(tool), |tool, kind| match kind {
            Audit => boxed(self.layer.layer(tool)),
            Timeout => boxed(TimeoutLayer::new(ms(1_000)).layer(tool)),
            Concurrency => boxed(ConcurrencyLimitLayer::new(1).layer(tool)),
            Breaker => boxed(CircuitBreakerLayer::new().layer(tool)),
            Cleanup => boxed(CleanupLayer::new().layer(tool)),
            Partial => boxed(PartialResultLayer::new().layer(tool)),
            CatchPanic => boxed(CatchPanicLayer::new().layer(tool)),
            Spawn => boxed(SpawnLayer::new().layer(tool)),
        })
    }

    /// Asserts that each call was recorded once, and that all permits are available.
    #[track_caller]
    fn assert_ended(&self, order: &[Kind], outcome: Outcome, items: usize) {
        let records: Vec<_> = self.records.try_iter().collect();
        assert_eq!(records, [("tool".to_owned(), outcome, items)], "{order:?}");
        assert_eq!(self.layer.permits.available_permits(), 2, "{order:?}");
    }
}

/// Every order of five layers, and the audit layer in every position of a stack of all layers.
fn stacks() -> Vec<Vec<Kind>> {
    let five = orders([Audit, Timeout, Concurrency, Cleanup, Partial]);
    let mut stacks: Vec<_> = five.into_iter().map(Vec::from).collect();
    let others = [
        Timeout,
        Breaker,
        Concurrency,
        Cleanup,
        Partial,
        CatchPanic,
        Spawn,
    ];
    for position in 0..=others.len() {
        let mut stack = others.to_vec();
        stack.insert(position, Audit);
        stacks.push(stack);
    }
    stacks
}

/// A tool that streams three items.
fn streams() -> ScriptedTool {
    ScriptedTool::new(|_| async {
        let items = stream::iter(["a", "b", "c"]).map(|item| Ok::<_, BoxError>(item.into()));
        Ok::<_, BoxError>(ToolOutput::stream(items))
    })
}

/// Starts a call and reads `items` items of its response.
async fn read(stack: BoxTool, items: usize) -> ContentStream {
    let output = stack.oneshot(call("tool")).await.expect("a response");
    let mut stream = output.into_stream();
    for _ in 0..items {
        assert!(stream.next().await.is_some_and(|item| item.is_ok()));
    }
    stream
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn streaming_response_is_recorded_at_its_end_in_every_order() {
    for order in stacks() {
        let fixture = Fixture::new();
        let mut stream = read(fixture.stack(&order, streams()), 3).await;
        assert_eq!(fixture.layer.permits.available_permits(), 1, "{order:?}");
        assert!(stream.next().await.is_none());
        fixture.assert_ended(&order, Outcome::Completed, 3);
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn stream_dropped_half_read_releases_the_permit_in_every_order() {
    for order in stacks() {
        let fixture = Fixture::new();
        drop(read(fixture.stack(&order, streams()), 2).await);
        fixture.assert_ended(&order, Outcome::Cancelled, 2);
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn timeout_releases_the_permit_in_every_order() {
    for order in stacks() {
        let fixture = Fixture::new();
        let stack = fixture.stack(&order, ScriptedTool::pending());
        assert!(stack.oneshot(call("tool")).await.is_err());
        fixture.assert_ended(&order, Outcome::TimedOut, 0);
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn panic_releases_the_permit_in_every_order() {
    std::panic::set_hook(Box::new(|_| ()));
    for order in stacks() {
        for tool in [
            ScriptedTool::panics_in_call(),
            ScriptedTool::panics_in_future(),
        ] {
            let fixture = Fixture::new();
            let stack = fixture.stack(&order, tool);
            let call = async { stack.oneshot(call("tool")).await };
            let result = std::panic::AssertUnwindSafe(call).catch_unwind().await;
            assert!(!matches!(result, Ok(Ok(_))), "{order:?}");
            fixture.assert_ended(&order, Outcome::Panicked, 0);
        }
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn dropped_waiter_starts_nothing_and_leaves_the_queue_in_every_order() {
    for order in stacks() {
        let fixture = Fixture::new();
        let permits = Arc::clone(&fixture.layer.permits);
        let held = permits.acquire_many(2).await.expect("it is open");
        let tool = ScriptedTool::ready();
        let stack = fixture.stack(&order, tool.handle());
        let waits = timeout(ms(500), stack.oneshot(call("tool")));
        assert!(waits.await.is_err(), "{order:?}");
        assert_eq!(tool.probe().started(), 0, "{order:?}");
        drop(held);
        fixture.assert_ended(&order, Outcome::Cancelled, 0);
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn waiter_starts_with_the_next_permit() {
    let fixture = Fixture::new();
    let tool = ScriptedTool::new(|_| async {
        sleep(ms(100)).await;
        Ok::<_, BoxError>(ToolOutput::text("done"))
    });
    let stack = fixture.stack(&[Audit], tool.handle());
    let calls = (0..5).map(|_| stack.clone().oneshot(call("tool")));
    let results = futures_util::future::join_all(calls).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!((tool.probe().max(), tool.probe().started()), (2, 5));
    assert_eq!(fixture.records.try_iter().count(), 5);
    assert_eq!(fixture.layer.permits.available_permits(), 2);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn wait_in_a_queue_that_the_layer_names_is_reported() {
    let waits = Recorder::new();
    let sink = waits.clone();
    let sink = move |event: &Event| match &event.kind {
        EventKind::Queued { layer } => sink.record((layer.to_string(), ms(0))),
        EventKind::Admitted { layer, waited } => sink.record((layer.to_string(), *waited)),
        _ => {}
    };
    let fixture = Fixture::new();
    let tool = ScriptedTool::new(|_| async {
        sleep(ms(100)).await;
        Ok::<_, BoxError>(ToolOutput::text("done"))
    });
    let stack = EventsLayer::new(sink).layer(fixture.stack(&[Audit], tool));
    let calls = (0..3).map(|_| stack.clone().oneshot(call("tool")));
    futures_util::future::join_all(calls).await;
    let audit = "audit".to_owned();
    let expected = [(ms(0), (audit.clone(), ms(0))), (ms(100), (audit, ms(100)))];
    assert_eq!(waits.entries(), expected);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn error_of_the_wait_rejects_the_call() {
    let fixture = Fixture::new();
    fixture.layer.permits.close();
    let tool = ScriptedTool::ready();
    let stack = fixture.stack(&[Audit], tool.handle());
    assert!(stack.oneshot(call("tool")).await.is_err());
    assert_eq!(tool.probe().started(), 0);
    fixture.assert_ended(&[Audit], Outcome::Failed, 0);
}
