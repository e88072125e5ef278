//! Waiting for hooks, and what becomes of them where there is nobody to run them.

use tokio::runtime::{Builder, Runtime};
use toolbooth::TimeoutLayer;
use tower::{Layer, ServiceExt};

use super::*;

fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime")
}

/// Ends a call with a hook that takes this long.
async fn end_call(cleanup: &CleanupLayer, diary: &Diary, takes: Duration) {
    let call = call();
    diary.hook(call.context(), "hook", takes);
    assert_eq!(
        text(cleanup.layer(Probe::ready()).oneshot(call).await).await,
        "done"
    );
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn drain_waits_for_all_hooks_and_no_longer() {
    let (cleanup, diary) = (CleanupLayer::new(), Diary::new());
    for takes in [100, 300, 200] {
        end_call(&cleanup, &diary, ms(takes)).await;
    }
    assert_eq!(counts(cleanup.report()), (0, 0, 0, 0));
    assert_eq!(counts(cleanup.drain(ms(1_000)).await), (3, 0, 0, 0));
    // Those of different calls run at the same time.
    assert_eq!(diary.read(), [("hook", 100), ("hook", 200), ("hook", 300)]);
    assert_eq!(diary.start.elapsed(), ms(300));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn drain_without_hooks_returns_at_once() {
    let start = Instant::now();
    assert_eq!(
        counts(CleanupLayer::new().drain(ms(1_000)).await),
        (0, 0, 0, 0)
    );
    assert_eq!(start.elapsed(), ms(0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn drain_abandons_at_its_limit_what_is_not_done() {
    let (cleanup, diary) = (CleanupLayer::new(), Diary::new());
    end_call(&cleanup, &diary, ms(100)).await;
    // Of this call one hook runs at the limit, and two have not begun.
    let call = call();
    let dropped = Count::default();
    for _ in 0..3 {
        let on_drop = dropped.on_drop();
        call.context().on_cleanup(move |_| async move {
            let _on_drop = on_drop;
            tokio::time::sleep(ms(600)).await;
        });
    }
    assert_eq!(
        text(cleanup.layer(Probe::ready()).oneshot(call).await).await,
        "done"
    );
    assert_eq!(counts(cleanup.drain(ms(500)).await), (1, 0, 3, 0));
    assert_eq!((diary.start.elapsed(), dropped.get()), (ms(500), 3));
    assert_eq!(counts(cleanup.report()), (1, 0, 3, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn drain_that_is_dropped_stops_no_hook() {
    let (cleanup, diary) = (CleanupLayer::new(), Diary::new());
    end_call(&cleanup, &diary, ms(300)).await;
    let cut = tokio::time::timeout(ms(100), cleanup.drain(ms(1_000))).await;
    assert!(cut.is_err());
    assert_eq!(counts(cleanup.drain(ms(1_000)).await), (1, 0, 0, 0));
    assert_eq!(diary.read(), [("hook", 300)]);
}

#[test]
fn hooks_that_a_runtime_takes_down_with_it_count_as_abandoned() {
    let cleanup = CleanupLayer::new();
    let runtime = runtime();
    runtime.block_on(async {
        end_call(&cleanup, &Diary::new(), ms(300)).await;
        pass(ms(100)).await;
    });
    assert_eq!(counts(cleanup.report()), (0, 0, 0, 0));
    drop(runtime);
    assert_eq!(counts(cleanup.report()), (0, 0, 1, 0));
}

#[test]
fn call_that_ends_after_its_runtime_abandons_its_hooks_and_panics_nowhere() {
    let cleanup = CleanupLayer::new();
    let untracked = TimeoutLayer::unlimited();
    let runtime = runtime();
    let ran = Count::default();
    let futures = runtime.block_on(async {
        let (call, call2) = (call(), call());
        for context in [call.context(), call2.context()] {
            let ran = ran.clone();
            context.on_cleanup(move |_| async move { ran.add() });
        }
        let mut tracked = Box::pin(cleanup.layer(Probe::stuck()).oneshot(call));
        let mut untracked = Box::pin(untracked.layer(Probe::stuck()).oneshot(call2));
        assert!(futures_util::poll!(&mut tracked).is_pending());
        assert!(futures_util::poll!(&mut untracked).is_pending());
        (tracked, untracked)
    });
    drop(runtime);
    drop(futures);
    assert_eq!((ran.get(), counts(cleanup.report())), (0, (0, 0, 1, 0)));
}

#[test]
fn call_without_any_runtime_abandons_its_hooks_and_panics_nowhere() {
    let cleanup = CleanupLayer::new();
    let (ran, dropped) = (Count::default(), Count::default());
    let call = call();
    let context = call.context().clone();
    let hook = || {
        let (ran, on_drop) = (ran.clone(), dropped.on_drop());
        context.on_cleanup(move |_| async move {
            let _on_drop = on_drop;
            ran.add();
        })
    };
    assert_eq!(hook(), Registered::Held);
    let mut future = tokio_test::task::spawn(cleanup.layer(Probe::ready()).oneshot(call));
    assert!(future.poll().is_ready());
    assert_eq!(counts(cleanup.report()), (0, 0, 1, 0));
    // And one that comes after the end.
    assert_eq!(hook(), Registered::RunsNow);
    assert_eq!((ran.get(), dropped.get()), (0, 2));
}

#[test]
fn call_dropped_outside_of_its_runtime_runs_its_hooks_there() {
    for cleanup in [CleanupLayer::new(), CleanupLayer::new().with_wait(ms(100))] {
        let runtime = runtime();
        let ran = Count::default();
        let inside = runtime.enter();
        let call = call();
        let count = ran.clone();
        call.context()
            .on_cleanup(move |_| async move { count.add() });
        let mut future = tokio_test::task::spawn(cleanup.layer(Probe::stuck()).oneshot(call));
        assert!(future.poll().is_pending());
        drop(inside);
        drop(future);
        let report = runtime.block_on(cleanup.drain(ms(1_000)));
        assert_eq!((ran.get(), counts(report)), (1, (1, 0, 0, 0)));
    }
}
