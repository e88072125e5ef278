//! `drain` waits for hooks, and counts those that no runtime can run.

use tokio::runtime::{Builder, Runtime};
use tokio_test::task;
use toolbooth::TimeoutLayer;
use tower::{Layer, Service, ServiceExt};

use super::*;

fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime")
}

/// Registers a hook that is inside `probe` from its first poll, and until then inside `waiting`.
fn probed_hook(context: &CallContext, waiting: &Probe, probe: &Probe) -> Registered {
    let (waiting, probe) = (waiting.enter(), probe.clone());
    context.on_cleanup(move |_| async move {
        let _guards = (waiting, probe.enter());
        tokio::time::sleep(ms(600)).await;
    })
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn drain_waits_for_all_hooks_and_no_longer() {
    let (cleanup, events) = (CleanupLayer::new(), Events::new());
    for takes in [100, 300, 200] {
        call_with_hook(&cleanup, &events, ms(takes)).await;
    }
    assert_eq!(counts(cleanup.report()), (0, 0, 0, 0));
    let start = Instant::now();
    assert_eq!(counts(cleanup.drain(ms(1_000)).await), (3, 0, 0, 0));
    // Hooks of different calls run concurrently.
    assert_eq!(
        entries(&events),
        [("hook", 100), ("hook", 200), ("hook", 300)]
    );
    assert_eq!(start.elapsed(), ms(300));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn drain_without_hooks_returns_at_once() {
    let start = Instant::now();
    let report = CleanupLayer::new().drain(ms(1_000)).await;
    assert_eq!((counts(report), start.elapsed()), ((0, 0, 0, 0), ms(0)));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn drain_abandons_unfinished_hooks_at_its_limit() {
    let (cleanup, events) = (CleanupLayer::new(), Events::new());
    call_with_hook(&cleanup, &events, ms(100)).await;
    // One hook of this call runs at the limit, and two have not started.
    let call = call();
    let (hooks, running) = (Probe::new(), Probe::new());
    for _ in 0..3 {
        probed_hook(call.context(), &hooks, &running);
    }
    complete(&cleanup, call).await;
    let start = Instant::now();
    assert_eq!(counts(cleanup.drain(ms(500)).await), (1, 0, 3, 0));
    assert_eq!((start.elapsed(), hooks.finished()), (ms(500), 3));
    assert_eq!(running.started(), 1);
    assert_eq!(counts(cleanup.report()), (1, 0, 3, 0));
    // Hooks of later calls run.
    call_with_hook(&cleanup, &events, ms(50)).await;
    assert_eq!(counts(cleanup.drain(ms(1_000)).await), (2, 0, 3, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn dropped_drain_stops_no_hook() {
    let (cleanup, events) = (CleanupLayer::new(), Events::new());
    call_with_hook(&cleanup, &events, ms(300)).await;
    let drain = tokio::time::timeout(ms(100), cleanup.drain(ms(1_000)));
    assert!(drain.await.is_err());
    assert_eq!(counts(cleanup.drain(ms(1_000)).await), (1, 0, 0, 0));
    assert_eq!(entries(&events), [("hook", 300)]);
}

#[test]
fn hooks_dropped_with_their_runtime_count_as_abandoned() {
    let cleanup = CleanupLayer::new();
    let runtime = runtime();
    runtime.block_on(async {
        call_with_hook(&cleanup, &Events::new(), ms(300)).await;
        pass(ms(100)).await;
    });
    assert_eq!(counts(cleanup.report()), (0, 0, 0, 0));
    drop(runtime);
    assert_eq!(counts(cleanup.report()), (0, 0, 1, 0));
}

#[test]
fn call_that_ends_after_its_runtime_abandons_its_hooks() {
    let cleanup = CleanupLayer::new();
    let runtime = runtime();
    let (hooks, running) = (Probe::new(), Probe::new());
    let futures = runtime.block_on(async {
        let (first, second) = (call(), call());
        probed_hook(first.context(), &hooks, &running);
        probed_hook(second.context(), &hooks, &running);
        let pending = ScriptedTool::pending;
        let mut tracked = Box::pin(cleanup.layer(pending()).oneshot(first));
        let untracked = TimeoutLayer::unlimited().layer(pending());
        let mut untracked = Box::pin(untracked.oneshot(second));
        assert!(futures_util::poll!(&mut tracked).is_pending());
        assert!(futures_util::poll!(&mut untracked).is_pending());
        (tracked, untracked)
    });
    drop(runtime);
    drop(futures);
    assert_eq!((hooks.finished(), running.started()), (2, 0));
    assert_eq!(counts(cleanup.report()), (0, 0, 1, 0));
}

#[test]
fn call_without_a_runtime_abandons_its_hooks() {
    let cleanup = CleanupLayer::new();
    let (hooks, running) = (Probe::new(), Probe::new());
    let call = call();
    let context = call.context().clone();
    assert_eq!(probed_hook(&context, &hooks, &running), Registered::Held);
    let service = cleanup.layer(ScriptedTool::ready());
    assert!(task::spawn(service.oneshot(call)).poll().is_ready());
    assert_eq!(counts(cleanup.report()), (0, 0, 1, 0));
    // So does a hook that is registered after the end.
    assert_eq!(probed_hook(&context, &hooks, &running), Registered::RunsNow);
    assert_eq!((hooks.finished(), running.started()), (2, 0));
}

#[test]
fn call_dropped_outside_its_runtime_runs_its_hooks_on_it() {
    for cleanup in [CleanupLayer::new(), CleanupLayer::new().with_wait(ms(100))] {
        let runtime = runtime();
        let (hooks, running) = (Probe::new(), Probe::new());
        let entered = runtime.enter();
        let call = call();
        probed_hook(call.context(), &hooks, &running);
        let mut service = cleanup.layer(ScriptedTool::pending());
        let mut future = task::spawn(service.call(call));
        assert!(future.poll().is_pending());
        drop(entered);
        drop(future);
        let report = runtime.block_on(cleanup.drain(ms(1_000)));
        assert_eq!(counts(report), (1, 0, 0, 0));
        assert_eq!(running.finished(), 1);
    }
}
