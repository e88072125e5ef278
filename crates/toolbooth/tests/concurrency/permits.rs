//! Permits are acquired in `call` and released once, however the call ends.

use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_util::FutureExt;
use toolbooth::{ConfigError, Content};

use super::support::{Readiness, ToolLog, fails, next, panic_text, streaming};
use super::*;

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn permit_is_acquired_in_call_and_released_before_the_response_is_returned() {
    let limit = ConcurrencyLimitLayer::new(2);
    let (mut service, mut handle) = mock(&limit);
    assert_eq!(counts(&limit), (2, 0, 0));
    let mut future = task::spawn(service.call(call()));
    assert_eq!(counts(&limit), (1, 1, 0));
    assert_pending!(future.poll());
    respond(&mut handle, ToolOutput::text("done")).await;
    assert_eq!(counts(&limit), (1, 1, 0));
    assert_eq!(text(assert_ready!(future.poll())).await, "done");
    assert_eq!(counts(&limit), (2, 0, 0));
    drop(future);
    assert_eq!(counts(&limit), (2, 0, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn failed_call_releases_its_permit() {
    let limit = ConcurrencyLimitLayer::new(1);
    let unready = ScriptedTool::ready().with_readiness(Readiness::Fails);
    for tool in [fails("disk full"), unready] {
        assert_eq!(
            error_of(limit.layer(tool), call()).await.kind(),
            ErrorKind::Tool
        );
        assert_eq!(counts(&limit), (1, 0, 0));
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn dropped_call_releases_its_permit() {
    let limit = ConcurrencyLimitLayer::new(1);
    let tool = ScriptedTool::pending();
    let mut service = limit.layer(tool.handle());
    drop(service.call(call()));
    assert_eq!(counts(&limit), (1, 0, 0));

    for readiness in [Readiness::Ready, Readiness::Pending] {
        tool.set_readiness(readiness);
        let mut running = task::spawn(service.call(call()));
        assert_pending!(running.poll());
        assert_eq!(counts(&limit), (0, 1, 0));
        drop(running);
        assert_eq!(counts(&limit), (1, 0, 0));
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn panicking_call_releases_its_permit() {
    let limit = ConcurrencyLimitLayer::new(1);
    let unready = ScriptedTool::ready().with_readiness(Readiness::Panics);
    for (tool, text) in [
        (ScriptedTool::panics_in_future(), "in the future"),
        (ScriptedTool::panics_in_call(), "in call"),
        (unready, "in poll_ready"),
    ] {
        let mut service = limit.layer(tool);
        let panic = AssertUnwindSafe(async { service.call(call()).await }).catch_unwind();
        assert_eq!(panic_text(panic.await), text);
        assert_eq!(counts(&limit), (1, 0, 0));
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn waiter_whose_tool_panics_at_the_start_releases_its_permit() {
    let limit = ConcurrencyLimitLayer::new(1);
    for (tool, text) in [
        (ScriptedTool::panics_in_call(), "in call"),
        (
            ScriptedTool::ready().with_readiness(Readiness::Panics),
            "in poll_ready",
        ),
    ] {
        let (mut service, _handle) = mock(&limit);
        let holder = service.call(call());
        let call = call();
        let outcomes = Outcomes::of(call.context());
        let mut waiter = task::spawn(limit.layer(tool).call(call));
        assert_pending!(waiter.poll());
        drop(holder);
        let panic = catch_unwind(AssertUnwindSafe(|| waiter.poll().is_pending()));
        assert_eq!(panic_text(panic), text);
        assert_eq!(counts(&limit), (1, 0, 0));
        assert_eq!(outcomes.all().await, [Outcome::Panicked]);
    }
}

/// Guarantee L4.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn streaming_response_holds_its_permit_to_its_end_and_then_a_waiter_starts() {
    let limit = ConcurrencyLimitLayer::new(1);
    let (tool, _) = streams(|probe| ticking(probe, ms(10), ["a", "b"]));
    let mut service = limit.layer(tool);
    let mut stream = stream_of(service.clone(), call()).await;
    let mut waiter = task::spawn(service.call(call()));
    assert_pending!(waiter.poll());
    for item in ["a", "b"] {
        assert_eq!(next_text(&mut stream).await, item);
        assert_eq!((counts(&limit), waiter.is_woken()), ((0, 1, 1), false));
    }
    assert!(next(&mut stream).await.is_none());
    assert!(waiter.is_woken());
    let waiter = assert_ready!(waiter.poll()).unwrap();
    assert!(waiter.is_stream());
    drop(stream);
    assert_eq!(counts(&limit), (0, 1, 0));
    // Dropped without being read.
    drop(waiter);
    assert_eq!(counts(&limit), (1, 0, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn streaming_response_that_fails_or_is_dropped_releases_its_permit() {
    let limit = ConcurrencyLimitLayer::new(1);
    let (tool, _) = streams(|probe| {
        let items = [Ok("a"), Err("disk full")].map(|item| item.map(Content::from));
        streaming(probe, futures_util::stream::iter(items))
    });
    let service = limit.layer(tool);
    let mut failing = stream_of(service.clone(), call()).await;
    assert_eq!(next_text(&mut failing).await, "a");
    assert_eq!(counts(&limit), (0, 1, 0));
    let failed = next(&mut failing).await.unwrap().unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Tool);
    assert_eq!(counts(&limit), (1, 0, 0));

    let mut dropped = stream_of(service, call()).await;
    assert_eq!(next_text(&mut dropped).await, "a");
    assert_eq!(counts(&limit), (0, 1, 0));
    drop(dropped);
    assert_eq!(counts(&limit), (1, 0, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn hooks_run_without_the_permit() {
    let limit = ConcurrencyLimitLayer::new(1);
    let seen = limit.clone();
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let call = call();
    call.context().on_cleanup(move |_| async move {
        sender.send(counts(&seen)).unwrap();
    });
    assert_eq!(
        text_of(limit.layer(ScriptedTool::ready()), call).await,
        "done"
    );
    assert_eq!(receiver.await.unwrap(), (1, 0, 0));
}

/// Guarantee L1.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn clones_and_services_of_one_layer_share_a_limit() {
    let limit = ConcurrencyLimitLayer::new(2);
    let layer = limit.clone();
    let (mut one, _one) = mock(&layer);
    let (mut other, _other) = mock(&limit);
    let mut clone = one.clone();
    let first = one.call(call());
    let second = other.call(call());
    assert_eq!((counts(&layer), counts(&limit)), ((0, 2, 0), (0, 2, 0)));
    let waiting = pending(&mut clone, "third");
    assert_eq!((counts(&layer), counts(&limit)), ((0, 2, 1), (0, 2, 1)));
    // A new layer is a new limit.
    assert_eq!(counts(&ConcurrencyLimitLayer::new(2)), (2, 0, 0));
    drop((first, second, waiting));
    assert_eq!(counts(&limit), (2, 0, 0));
}

/// Guarantee L3.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn limit_of_0_rejects_every_call() {
    let limit = ConcurrencyLimitLayer::new(0);
    let tool = ScriptedTool::ready();
    let call = call();
    let outcomes = Outcomes::of(call.context());
    let rejected = error_of(limit.layer(tool.handle()), call).await;
    assert_eq!(
        rejected.to_string(),
        "overloaded: the limit is 0, no call can run (by `concurrency`)"
    );
    let reason = OverloadReason::Closed;
    assert!(matches!(rejected, ToolError::Overloaded { reason: r, .. } if r == reason));
    assert_eq!(
        (tool.log(), counts(&limit)),
        (ToolLog::default(), (0, 0, 0))
    );
    assert_eq!(outcomes.all().await, [Outcome::Rejected]);
}

#[test]
fn try_new_rejects_a_limit_of_0() {
    let rejected = ConcurrencyLimitLayer::try_new(0).unwrap_err();
    assert_eq!(rejected, ConfigError::ZeroLimit);
    assert_eq!(ConcurrencyLimitLayer::try_new(1).unwrap().available(), 1);
    let unlimited = ConcurrencyLimitLayer::try_new(None).unwrap();
    assert_eq!(unlimited.available(), usize::MAX);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn no_limit_runs_all_calls() {
    let limit = ConcurrencyLimitLayer::new(None);
    let (mut service, mut handle) = mock(&limit);
    let calls: Vec<Call> = (0..100).map(|_| pending(&mut service, "call")).collect();
    assert_eq!(started(&mut handle).len(), 100);
    assert_eq!(counts(&limit), (usize::MAX, 0, 0));
    drop(calls);

    let highest = ConcurrencyLimitLayer::new(usize::MAX);
    assert_eq!(
        text_of(highest.layer(ScriptedTool::ready()), call()).await,
        "done"
    );
    assert_eq!(highest.available(), usize::MAX);
}
