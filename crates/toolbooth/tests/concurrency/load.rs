//! Whole calls through a limit (guarantees L1, L3, L4, L6).

use std::convert::Infallible;
use std::future::pending;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use tokio::time::sleep;
use toolbooth::{
    CallContext, ConcurrencyLimitLayer, Outcome, OverloadReason, TimeoutLayer, tool_fn,
};
use toolbooth_test::{
    BoxTool, FastTool, Probe, Recorder, SlowTool, Stopwatch, boxed, call, call_all, count_ok,
    last_ok, ms, outcome,
};
use tower::{Layer, ServiceBuilder, ServiceExt};

use super::support::limits::{begin, calls, overload, recording};

/// L1.
#[tokio::test(start_paused = true)]
async fn exactly_as_many_calls_as_the_limit_run() {
    for (limit, takes) in [(1, 1_000), (3, 340), (5, 200), (10, 100), (100, 10)] {
        let tool = FastTool::new();
        let stack = ConcurrencyLimitLayer::new(limit).layer(tool.clone());
        let finished = call_all(stack, calls(100)).await;
        assert_eq!(count_ok(&finished), 100);
        assert_eq!(last_ok(&finished), Some(ms(takes)));
        assert_eq!(tool.probe().max(), limit);
    }
}

/// L1.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn limit_is_never_exceeded_on_four_threads() {
    let probe = Probe::new();
    let inside = probe.clone();
    let tool = tool_fn("tool", move |(): ()| {
        let inside = inside.clone();
        async move {
            let _inside = inside.enter();
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            Ok::<_, Infallible>("done")
        }
    });
    let limit = ConcurrencyLimitLayer::new(7).with_queue_capacity(5_000);
    let finished = call_all(limit.layer(tool), calls(5_000)).await;
    assert_eq!(count_ok(&finished), 5_000);
    assert!(probe.max() <= 7, "{}", probe.max());
    assert_eq!((probe.started(), probe.finished()), (5_000, 5_000));
    assert_eq!((limit.available(), limit.queued()), (7, 0));
}

/// L3.
#[tokio::test(start_paused = true)]
async fn full_queue_rejects_calls_that_never_run() {
    for (waiting, last) in [(0, 100), (2, 200), (5, 400)] {
        let tool = SlowTool::new(ms(100));
        let limit = ConcurrencyLimitLayer::new(2).with_queue_capacity(waiting);
        let finished = call_all(limit.layer(tool.clone()), calls(10)).await;
        let (served, rejected) = finished.split_at(2 + waiting);
        assert_eq!(
            (count_ok(served), last_ok(served)),
            (2 + waiting, Some(ms(last)))
        );
        for rejected in rejected {
            assert_eq!(rejected.at, ms(0));
            assert_eq!(
                overload(rejected),
                Some(OverloadReason::queue_full(waiting))
            );
        }
        assert_eq!(tool.probe().started(), 2 + waiting);
        assert_eq!((limit.available(), limit.queued()), (2, 0));
    }
}

/// L3.
#[tokio::test(start_paused = true)]
async fn call_that_waits_too_long_is_rejected_and_never_runs() {
    let tool = SlowTool::new(ms(100));
    let limit = ConcurrencyLimitLayer::new(2).with_max_wait(ms(150));
    let finished = call_all(limit.layer(tool.clone()), calls(10)).await;
    let (served, rejected) = finished.split_at(4);
    assert_eq!((count_ok(served), last_ok(served)), (4, Some(ms(200))));
    for rejected in rejected {
        assert_eq!(rejected.at, ms(150));
        assert_eq!(
            overload(rejected),
            Some(OverloadReason::waited_too_long(ms(150)))
        );
    }
    assert_eq!(tool.probe().started(), 4);
    assert_eq!((limit.available(), limit.queued()), (2, 0));
}

/// A tool that takes 100 ms and ends as its name says.
#[expect(clippy::panic, reason = "the tool panics")]
fn ending_tool() -> BoxTool {
    boxed(tool_fn("ending", async |call: CallContext, (): ()| {
        sleep(ms(100)).await;
        match call.tool() {
            "completes" => Ok("done"),
            "fails" => Err("failed"),
            "panics" => panic!("the tool panics"),
            _ => pending().await,
        }
    }))
}

/// L4.
#[tokio::test(start_paused = true)]
async fn permit_is_released_before_the_caller_observes_the_end() {
    let limit = ConcurrencyLimitLayer::new(1);
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ms(2_000)))
        .layer(limit.clone())
        .service(ending_tool());
    for _ in 0..5 {
        for (name, end) in [
            ("completes", Outcome::Completed),
            ("fails", Outcome::Failed),
            ("panics", Outcome::Panicked),
            ("hangs", Outcome::TimedOut),
        ] {
            // The future is still alive here, so its drop does not release the permit.
            let mut running = Box::pin(stack.clone().oneshot(call(name)));
            let seen = AssertUnwindSafe(&mut running).catch_unwind().await;
            assert_eq!((limit.available(), limit.in_flight()), (1, 0), "{name}");
            assert_eq!(outcome(seen), end);
        }
        let running = stack.clone().oneshot(call("hangs"));
        assert!(tokio::time::timeout(ms(499), running).await.is_err());
        assert_eq!((limit.available(), limit.in_flight()), (1, 0));
    }
}

/// L6.
#[tokio::test(start_paused = true)]
async fn queue_is_first_in_first_out_and_a_dropped_waiter_leaves_it() {
    let starts = Recorder::new();
    let limit = ConcurrencyLimitLayer::new(1);
    let stack = limit.layer(recording(&starts));
    let watch = Stopwatch::start();
    let mut running = Vec::new();
    for id in ["a", "b", "c", "d", "e"] {
        running.push(begin(&stack, call("order").with_id(id)).await);
    }
    assert_eq!((limit.in_flight(), limit.queued()), (1, 4));

    // A waiter in the middle leaves, and at 150 ms the first one does.
    watch.until(ms(50)).await;
    running[3].abort();
    watch.until(ms(60)).await;
    assert_eq!(limit.queued(), 3);
    watch.until(ms(150)).await;
    running[2].abort();
    watch.until(ms(160)).await;
    assert_eq!((limit.in_flight(), limit.queued()), (1, 1));
    // A new call is the last one.
    let late = begin(&stack, call("order").with_id("late")).await;
    late.await.unwrap().unwrap();

    let order = [(0, "a"), (100, "b"), (200, "e"), (300, "late")];
    assert_eq!(
        starts.entries(),
        order.map(|(at, id)| (ms(at), id.to_owned()))
    );
    assert_eq!((limit.available(), limit.queued()), (1, 0));
}

/// L6.
#[tokio::test(start_paused = true)]
async fn hundred_waiters_start_in_the_order_of_their_arrival() {
    let starts = Recorder::new();
    let stack = ConcurrencyLimitLayer::new(3).layer(recording(&starts));
    let calls = (0..100).map(|n| call("order").with_id(n.to_string()));
    call_all(stack, calls).await;
    let expected: Vec<_> = (0..100_u64)
        .map(|n| (ms(100 * (n / 3)), n.to_string()))
        .collect();
    assert_eq!(starts.entries(), expected);
}
