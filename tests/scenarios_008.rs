//! What a stress-test report on concurrent tool calls found missing elsewhere, as equalities on the paused clock: its
//! scenarios first, then the guarantees that follow from them, each test under the name of its guarantee: L is the
//! concurrency limit, Q the rate limit.

use std::convert::Infallible;
use std::future::pending;
use std::num::NonZeroU32;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use governor::Quota;
use serde_json::json;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::sleep;
use toolbooth::{
    CallContext, ConcurrencyLimitLayer, ErrorKind, Outcome, OverloadReason, RateLimitLayer,
    TimeoutLayer, ToolCall, ToolError, ToolOutput, tool_fn,
};
use toolbooth_test::{
    FailingTool, FastTool, Finished, GeneratorTool, Probe, RateLimitedTool, Recorder,
    ResourceIntensiveTool, SlowTool, Stopwatch, call_all, ms,
};
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

type BoxTool = BoxCloneSyncService<ToolCall, ToolOutput, ToolError>;

fn call(tool: &str) -> ToolCall {
    ToolCall::new(tool, json!(null))
}

fn calls(count: usize) -> Vec<ToolCall> {
    (0..count).map(|_| call("tool")).collect()
}

/// So many a second, so many at once.
fn quota(rate: u32, burst: u32) -> Quota {
    let [rate, burst] = [rate, burst].map(|n| NonZeroU32::new(n).expect("not 0"));
    Quota::per_second(rate).allow_burst(burst)
}

fn count_ok(finished: &[Finished]) -> usize {
    finished.iter().filter(|finished| finished.is_ok()).count()
}

fn count(finished: &[Finished], kind: ErrorKind) -> usize {
    let kinds = finished.iter().filter_map(Finished::error_kind);
    kinds.filter(|found| *found == kind).count()
}

/// When the last of those that were answered was.
fn last_ok(finished: &[Finished]) -> Option<Duration> {
    let answered = finished.iter().filter(|finished| finished.is_ok());
    answered.map(|finished| finished.at).max()
}

/// A call of its own task, first polled before this returns.
async fn begin<S>(tool: &S, call: ToolCall) -> JoinHandle<Result<ToolOutput, ToolError>>
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError> + Clone + Send + 'static,
    S::Future: Send,
{
    let mut running = Box::pin(tool.clone().oneshot(call));
    match futures_util::poll!(&mut running) {
        std::task::Poll::Ready(answer) => tokio::spawn(async { answer }),
        std::task::Poll::Pending => tokio::spawn(running),
    }
}

// === the report's runner ===

#[tokio::test(start_paused = true)]
async fn sequential_5() {
    let tool = FastTool::new();
    let stack = ConcurrencyLimitLayer::new(10).layer(tool.clone());
    let watch = Stopwatch::start();
    for _ in 0..5 {
        stack.clone().oneshot(call("fast")).await.unwrap();
    }
    assert_eq!(watch.elapsed(), ms(50));
    assert_eq!((tool.probe().max(), tool.probe().finished()), (1, 5));
}

#[tokio::test(start_paused = true)]
async fn parallel_10_and_25() {
    for n in [10, 25] {
        let tool = FastTool::new();
        let stack = ConcurrencyLimitLayer::new(n).layer(tool.clone());
        let finished = call_all(stack, calls(n)).await;
        assert_eq!((count_ok(&finished), last_ok(&finished)), (n, Some(ms(10))));
        assert_eq!(tool.probe().max(), n);
    }
}

/// The negative control: without a limit as many run as come.
#[tokio::test(start_paused = true)]
async fn high_concurrency_without_a_limit() {
    for n in [10, 25, 50, 75, 100] {
        let tool = FastTool::new();
        let off = ConcurrencyLimitLayer::new(None);
        for stack in [
            BoxTool::new(tool.clone()),
            BoxTool::new(off.layer(tool.clone())),
        ] {
            let finished = call_all(stack, calls(n)).await;
            assert_eq!((count_ok(&finished), last_ok(&finished)), (n, Some(ms(10))));
            assert_eq!(tool.probe().max(), n);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn high_concurrency_under_a_limit_of_10() {
    for (n, takes) in [(50, 50), (100, 100)] {
        let tool = FastTool::new();
        let limit = ConcurrencyLimitLayer::new(10);
        let finished = call_all(limit.layer(tool.clone()), calls(n)).await;
        assert_eq!(count_ok(&finished), n);
        assert_eq!(last_ok(&finished), Some(ms(takes)));
        assert_eq!((tool.probe().max(), tool.probe().finished()), (10, n));
        assert_eq!(limit.available(), 10);
    }
}

#[tokio::test(start_paused = true)]
async fn rate_limiting_50() {
    let backend = RateLimitedTool::new();
    let limit = RateLimitLayer::new(quota(10, 10)).reject();
    let finished = call_all(limit.layer(backend.clone()), calls(50)).await;
    assert_eq!(
        (count_ok(&finished), last_ok(&finished)),
        (10, Some(ms(50)))
    );
    assert_eq!(count(&finished, ErrorKind::RateLimited), 40);
    for refused in finished
        .iter()
        .filter_map(|done| done.result.as_ref().err())
    {
        assert_eq!(refused.retry_after(), Some(ms(100)));
        assert!(refused.is_retryable());
    }
    assert_eq!((backend.taken(), backend.refusals()), (10, 0));
}

/// Without a breaker every call reaches the tool, however often it has failed.
#[tokio::test(start_paused = true)]
async fn cascading_failure_20() {
    let tool = FailingTool::new(14);
    let stack = ConcurrencyLimitLayer::new(10).layer(tool.clone());
    let mut outcomes = Vec::new();
    for _ in 0..20 {
        let result = stack.clone().oneshot(call("failing")).await;
        outcomes.push(result.map_or_else(|error| error.outcome(), |_| Outcome::Completed));
    }
    let expected = [vec![Outcome::Completed; 14], vec![Outcome::Failed; 6]].concat();
    assert_eq!(outcomes, expected);
    assert_eq!(tool.calls(), 20);
}

#[tokio::test(start_paused = true)]
async fn resource_exhaustion_5() {
    const BLOCK: usize = 2_048 << 10;
    for takes in [50, 100] {
        let tool = ResourceIntensiveTool::new(BLOCK, ms(takes));
        let finished = call_all(tool.clone(), calls(5)).await;
        assert_eq!(last_ok(&finished), Some(ms(takes)));
        assert_eq!(count_ok(&finished), 5);
        assert_eq!((tool.peak_bytes(), tool.live_bytes()), (5 * BLOCK, 0));

        // What a limit is for.
        let tool = ResourceIntensiveTool::new(BLOCK, ms(takes));
        let stack = ConcurrencyLimitLayer::new(2).layer(tool.clone());
        let finished = call_all(stack, calls(5)).await;
        assert_eq!(last_ok(&finished), Some(ms(3 * takes)));
        assert_eq!(count_ok(&finished), 5);
        assert_eq!((tool.peak_bytes(), tool.live_bytes()), (2 * BLOCK, 0));
    }
}

// === the report's pipelines, which it specifies and never measured ===

#[tokio::test(start_paused = true)]
async fn sequential_parallel_and_mixed_pipelines() {
    for n in [3, 2, 4, 6, 4] {
        let limit = ConcurrencyLimitLayer::new(10);
        let fast = limit.layer(FastTool::new());
        let slow = limit.layer(SlowTool::new(ms(500)));

        let watch = Stopwatch::start();
        let in_a_row = n.min(3);
        for _ in 0..in_a_row {
            fast.clone().oneshot(call("fast")).await.unwrap();
        }
        assert_eq!(watch.elapsed(), ms(10) * u32::try_from(in_a_row).unwrap());

        let finished = call_all(fast.clone(), calls(n)).await;
        assert_eq!((count_ok(&finished), last_ok(&finished)), (n, Some(ms(10))));

        let (fast, slow) = tokio::join!(call_all(fast, calls(n)), call_all(slow, calls(2)));
        assert_eq!((count_ok(&fast), last_ok(&fast)), (n, Some(ms(10))));
        assert_eq!((count_ok(&slow), last_ok(&slow)), (2, Some(ms(500))));
    }
}

#[tokio::test(start_paused = true)]
async fn rate_limit_simulation() {
    for n in [10, 25, 50, 75, 100] {
        let limit = RateLimitLayer::new(quota(10, 10)).reject();
        let tool = FastTool::new();
        let finished = call_all(limit.layer(tool.clone()), calls(n)).await;
        assert_eq!(count_ok(&finished), 10);
        assert_eq!(count(&finished, ErrorKind::RateLimited), n - 10);
        assert_eq!(tool.probe().started(), 10);
    }
}

/// The negative control for priorities: this line looks at nobody's.
#[tokio::test(start_paused = true)]
async fn fifo_control_a_high_priority_waits_for_those_before_it() {
    let starts = Recorder::new();
    let tool = order_tool(starts.clone());
    let stack = ConcurrencyLimitLayer::new(1).layer(tool);
    let low = (0..5).map(|n| call("tool").with_id(format!("low{n}")));
    let high = call("tool").with_id("high0").with_priority(10);
    call_all(stack, low.chain([high])).await;
    assert_eq!(
        starts.entries(),
        ["low0", "low1", "low2", "low3", "low4", "high0"]
            .into_iter()
            .zip(0_u64..)
            .map(|(id, n)| (ms(100 * n), id.to_owned()))
            .collect::<Vec<_>>()
    );
}

/// Notes the id of each call that starts, and takes 100 ms.
fn order_tool(
    starts: Recorder<String>,
) -> impl Service<
    ToolCall,
    Response = ToolOutput,
    Error = ToolError,
    Future = impl Future<Output = Result<ToolOutput, ToolError>> + Send + 'static,
> + Clone
+ Send
+ Sync
+ 'static {
    tool_fn("order", move |call: CallContext, (): ()| {
        let starts = starts.clone();
        async move {
            starts.record(call.id().to_string());
            sleep(ms(100)).await;
            Ok::<_, Infallible>("done")
        }
    })
}

// === L: the concurrency limit ===

#[tokio::test(start_paused = true)]
async fn l1_as_many_as_the_limit_run_and_no_more() {
    for (limit, takes) in [(1, 1_000), (3, 340), (5, 200), (10, 100), (100, 10)] {
        let tool = FastTool::new();
        let stack = ConcurrencyLimitLayer::new(limit).layer(tool.clone());
        let finished = call_all(stack, calls(100)).await;
        assert_eq!(count_ok(&finished), 100);
        assert_eq!(last_ok(&finished), Some(ms(takes)));
        assert_eq!(tool.probe().max(), limit);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn l1_on_four_threads_the_limit_is_never_exceeded() {
    let probe = Probe::new();
    let inside = probe.clone();
    let tool = tool_fn("tool", move |(): ()| {
        let inside = inside.clone();
        async move {
            let _inside = inside.enter();
            for _ in 0..3 {
                yield_now().await;
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

#[tokio::test(start_paused = true)]
async fn l1_one_limit_is_one_over_several_tools_and_a_new_value_is_a_new_limit() {
    let limit = ConcurrencyLimitLayer::new(5);
    let tool = FastTool::new();
    let (one, other) = (limit.layer(tool.clone()), limit.clone().layer(tool.clone()));
    let (one, other) = tokio::join!(call_all(one, calls(25)), call_all(other, calls(25)));
    assert_eq!(count_ok(&one) + count_ok(&other), 50);
    assert_eq!(last_ok(&one).max(last_ok(&other)), Some(ms(100)));
    assert_eq!(tool.probe().max(), 5);

    let tool = FastTool::new();
    let [one, other] = [5, 5].map(|limit| ConcurrencyLimitLayer::new(limit).layer(tool.clone()));
    let (one, other) = tokio::join!(call_all(one, calls(25)), call_all(other, calls(25)));
    assert_eq!(last_ok(&one).max(last_ok(&other)), Some(ms(50)));
    assert_eq!(tool.probe().max(), 10);
}

fn overload(finished: &Finished) -> Option<OverloadReason> {
    match finished.result {
        Err(ToolError::Overloaded { reason, .. }) => Some(reason),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn l3_when_full_a_bounded_number_waits_and_the_others_are_refused() {
    for (waiting, last) in [(0, 100), (2, 200), (5, 400)] {
        let tool = SlowTool::new(ms(100));
        let limit = ConcurrencyLimitLayer::new(2).with_queue_capacity(waiting);
        let finished = call_all(limit.layer(tool.clone()), calls(10)).await;
        let (served, refused) = finished.split_at(2 + waiting);
        assert_eq!(
            (count_ok(served), last_ok(served)),
            (2 + waiting, Some(ms(last)))
        );
        for refused in refused {
            assert_eq!(refused.at, ms(0));
            assert_eq!(overload(refused), Some(OverloadReason::queue_full(waiting)));
        }
        // The refused never ran, and took nothing.
        assert_eq!(tool.probe().started(), 2 + waiting);
        assert_eq!((limit.available(), limit.queued()), (2, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn l3_a_refusal_leaves_the_limit_as_it_was() {
    let tool = SlowTool::new(ms(100));
    let limit = ConcurrencyLimitLayer::new(1).with_queue_capacity(1);
    let stack = limit.layer(tool.clone());
    let running = begin(&stack, call("tool")).await;
    let waiting = begin(&stack, call("tool")).await;
    let before = (limit.available(), limit.in_flight(), limit.queued());
    assert_eq!(before, (0, 1, 1));
    let refused = stack.clone().oneshot(call("tool")).await.unwrap_err();
    assert_eq!(
        (refused.kind(), refused.outcome(), refused.is_retryable()),
        (ErrorKind::Overloaded, Outcome::Rejected, true)
    );
    assert_eq!(
        (limit.available(), limit.in_flight(), limit.queued()),
        before
    );
    assert_eq!(tool.probe().started(), 1);
    running.await.unwrap().unwrap();
    waiting.await.unwrap().unwrap();
    assert_eq!(tool.probe().started(), 2);
}

#[tokio::test(start_paused = true)]
async fn l3_the_wait_has_a_limit_and_nobody_runs_after_it() {
    let tool = SlowTool::new(ms(100));
    let limit = ConcurrencyLimitLayer::new(2).with_max_wait(ms(150));
    let finished = call_all(limit.layer(tool.clone()), calls(10)).await;
    let (served, refused) = finished.split_at(4);
    assert_eq!((count_ok(served), last_ok(served)), (4, Some(ms(200))));
    for refused in refused {
        assert_eq!(refused.at, ms(150));
        assert_eq!(
            overload(refused),
            Some(OverloadReason::waited_too_long(ms(150)))
        );
    }
    assert_eq!(tool.probe().started(), 4);
    assert_eq!((limit.available(), limit.queued()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn l3_the_default_line_holds_1024() {
    let tool = FastTool::new();
    let limit = ConcurrencyLimitLayer::new(1);
    let finished = call_all(limit.layer(tool.clone()), calls(1_030)).await;
    assert_eq!(count_ok(&finished), 1_025);
    for refused in &finished[1_025..] {
        assert_eq!(overload(refused), Some(OverloadReason::queue_full(1_024)));
    }
    assert_eq!(tool.probe().started(), 1_025);
}

#[tokio::test(start_paused = true)]
async fn l3_a_limit_of_none_at_all_is_closed() {
    let tool = FastTool::new();
    let limit = ConcurrencyLimitLayer::new(0);
    let finished = call_all(limit.layer(tool.clone()), calls(3)).await;
    for refused in &finished {
        assert_eq!(overload(refused), Some(OverloadReason::Closed));
    }
    assert_eq!(tool.probe().started(), 0);
}

/// Takes 100 ms, and then ends as its name says.
#[expect(clippy::panic, reason = "to panic is one of the ways to end")]
fn ending_tool() -> BoxTool {
    BoxTool::new(tool_fn("ending", async |call: CallContext, (): ()| {
        sleep(ms(100)).await;
        match call.tool() {
            "completes" => Ok("done"),
            "fails" => Err("failed"),
            "panics" => panic!("the tool panics, as it was told"),
            _ => pending().await,
        }
    }))
}

#[tokio::test(start_paused = true)]
async fn l4_the_permit_is_free_before_the_caller_sees_the_end() {
    let limit = ConcurrencyLimitLayer::new(1);
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ms(2_000)))
        .layer(limit.clone())
        .service(ending_tool());
    for _ in 0..5 {
        for (name, end) in [
            ("completes", Some(Outcome::Completed)),
            ("fails", Some(Outcome::Failed)),
            ("panics", None),
            ("hangs", Some(Outcome::TimedOut)),
        ] {
            // Still here when the permit is asked for: it is not dropping the future that gives it back.
            let mut running = Box::pin(stack.clone().oneshot(call(name)));
            let seen = AssertUnwindSafe(&mut running).catch_unwind().await.ok();
            assert_eq!((limit.available(), limit.in_flight()), (1, 0), "{name}");
            let seen =
                seen.map(|end| end.map_or_else(|error| error.outcome(), |_| Outcome::Completed));
            assert_eq!(seen, end);
        }
        // The caller leaves.
        let running = stack.clone().oneshot(call("hangs"));
        let left = tokio::time::timeout(ms(499), running).await;
        assert!(left.is_err());
        assert_eq!((limit.available(), limit.in_flight()), (1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn l4_a_streamed_answer_holds_its_permit_to_its_last_item() {
    let limit = ConcurrencyLimitLayer::new(1);
    let tool = limit.layer(GeneratorTool::new(ms(500), 3));

    let mut items = tool
        .clone()
        .oneshot(call("items"))
        .await
        .unwrap()
        .into_stream();
    for _ in 0..3 {
        items.next().await.unwrap().unwrap();
        assert_eq!((limit.available(), limit.in_flight()), (0, 1));
    }
    assert!(items.next().await.is_none());
    assert_eq!((limit.available(), limit.in_flight()), (1, 0));

    // Or until its consumer drops it.
    let mut items = tool.oneshot(call("items")).await.unwrap().into_stream();
    items.next().await.unwrap().unwrap();
    assert_eq!(limit.available(), 0);
    drop(items);
    assert_eq!(limit.available(), 1);
}

#[tokio::test(start_paused = true)]
async fn l6_the_line_is_first_in_first_out_and_a_dropped_waiter_leaves_it() {
    let starts = Recorder::new();
    let limit = ConcurrencyLimitLayer::new(1);
    let stack = limit.layer(order_tool(starts.clone()));
    let watch = Stopwatch::start();
    let mut running = Vec::new();
    for id in ["a", "b", "c", "d", "e"] {
        running.push(begin(&stack, call("order").with_id(id)).await);
    }
    assert_eq!((limit.in_flight(), limit.queued()), (1, 4));

    // One in the middle leaves, and at 150 ms the one at the front does.
    watch.until(ms(50)).await;
    running[3].abort();
    watch.until(ms(60)).await;
    assert_eq!(limit.queued(), 3);
    watch.until(ms(150)).await;
    running[2].abort();
    watch.until(ms(160)).await;
    assert_eq!((limit.in_flight(), limit.queued()), (1, 1));
    // Who comes now comes last.
    let late = begin(&stack, call("order").with_id("late")).await;
    late.await.unwrap().unwrap();

    let order = [(0, "a"), (100, "b"), (200, "e"), (300, "late")];
    assert_eq!(
        starts.entries(),
        order.map(|(at, id)| (ms(at), id.to_owned()))
    );
    assert_eq!((limit.available(), limit.queued()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn l6_a_hundred_in_line_start_in_the_order_in_which_they_came() {
    let starts = Recorder::new();
    let stack = ConcurrencyLimitLayer::new(3).layer(order_tool(starts.clone()));
    let calls = (0..100).map(|n| call("order").with_id(n.to_string()));
    call_all(stack, calls).await;
    let expected: Vec<_> = (0..100_u64)
        .map(|n| (ms(100 * (n / 3)), n.to_string()))
        .collect();
    assert_eq!(starts.entries(), expected);
}

#[tokio::test(start_paused = true)]
async fn l7_control_without_a_limit_all_hundred_run_at_once() {
    let tool = FastTool::new();
    let finished = call_all(tool.clone(), calls(100)).await;
    assert_eq!(
        (count_ok(&finished), last_ok(&finished)),
        (100, Some(ms(10)))
    );
    assert_eq!(tool.probe().max(), 100);
}

// === Q: the rate limit ===

#[tokio::test(start_paused = true)]
async fn q1_as_many_as_the_burst_are_admitted_at_once_and_the_others_told_when() {
    for (burst, admitted) in [(10, 10), (20, 20), (1, 1)] {
        let tool = FastTool::new();
        let limit = RateLimitLayer::new(quota(10, burst)).reject();
        let finished = call_all(limit.layer(tool.clone()), calls(50)).await;
        assert_eq!(count_ok(&finished), admitted);
        assert_eq!(count(&finished, ErrorKind::RateLimited), 50 - admitted);
        let first_refusal = finished[admitted].result.as_ref().unwrap_err();
        assert_eq!(first_refusal.retry_after(), Some(ms(100)));
        assert_eq!(first_refusal.outcome(), Outcome::Rejected);
        assert_eq!(tool.probe().started(), admitted);
    }
}

#[tokio::test(start_paused = true)]
async fn q1_a_refusal_says_exactly_when_the_next_token_is_there() {
    let limit = RateLimitLayer::new(quota(10, 1)).reject();
    let tool = BoxTool::new(limit.layer(FailingTool::new(100)));
    let watch = Stopwatch::start();
    tool.clone().oneshot(call("tool")).await.unwrap();
    for (at, retry_after) in [(0, 100), (30, 70), (99, 1)] {
        watch.until(ms(at)).await;
        let refused = tool.clone().oneshot(call("tool")).await.unwrap_err();
        assert_eq!(refused.retry_after(), Some(ms(retry_after)));
        assert_eq!(limit.remaining(), 0);
    }
    watch.until(ms(100)).await;
    assert_eq!(limit.remaining(), 1);
    tool.oneshot(call("tool")).await.unwrap();
    assert_eq!(limit.remaining(), 0);
}

#[tokio::test(start_paused = true)]
async fn q1_no_window_sees_more_than_burst_and_rate_allow() {
    for (rate, burst) in [(10, 10), (10, 1), (3, 5), (700, 1), (5_000, 20)] {
        let starts = Recorder::new();
        let record = starts.clone();
        let tool = tool_fn("tool", move |(): ()| {
            record.record(());
            async { Ok::<_, Infallible>("done") }
        });
        let limit = RateLimitLayer::new(quota(rate, burst));
        call_all(limit.layer(tool), calls(500)).await;

        let times = starts.times();
        assert_eq!(times.len(), 500);
        for (from, first) in times.iter().enumerate() {
            for (to, last) in times.iter().enumerate().skip(from) {
                // The millisecond is the tick of tokio's timers.
                let window = (last.saturating_sub(*first) + ms(1)).as_nanos();
                let allowed = u128::from(burst) * 1_000_000_000 + u128::from(rate) * window;
                let seen = u128::try_from(to - from + 1).unwrap() * 1_000_000_000;
                assert!(seen <= allowed, "{rate}/s, burst {burst}: {from}..={to}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn q2_all_who_wait_are_admitted_at_the_rate() {
    for (burst, last) in [(1, 4_900), (10, 4_000), (20, 3_000)] {
        let starts = Recorder::new();
        let limit = RateLimitLayer::new(quota(10, burst));
        let stack = limit.layer(order_tool(starts.clone()));
        let calls = (0..50).map(|n| call("order").with_id(n.to_string()));
        let finished = call_all(stack, calls).await;
        assert_eq!(count_ok(&finished), 50);
        // The burst at once, then one every 100 ms, in the order in which they came.
        let expected: Vec<_> = (0..50_u64)
            .map(|n| {
                (
                    ms(100 * (n + 1).saturating_sub(u64::from(burst))),
                    n.to_string(),
                )
            })
            .collect();
        assert_eq!(starts.entries(), expected);
        assert_eq!(starts.times().last(), Some(&ms(last)));
        assert_eq!(limit.queued(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn q2_the_refill_stops_at_the_burst() {
    for burst in [1, 10, 20] {
        let limit = RateLimitLayer::new(quota(10, burst)).reject();
        let tool = limit.layer(FastTool::new());
        let burst = usize::try_from(burst).unwrap();
        for idle in [0, 10_000, 3_600_000] {
            sleep(ms(idle)).await;
            let finished = call_all(tool.clone(), calls(50)).await;
            assert_eq!(count_ok(&finished), burst);
            assert_eq!(count(&finished, ErrorKind::RateLimited), 50 - burst);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn q3_a_limit_in_front_keeps_the_backend_from_refusing() {
    // (burst, refusals at the backend, when the last answer is there)
    for (burst, refusals, done) in [(10, 0, 4_050), (20, 9, 3_050)] {
        let backend = RateLimitedTool::new();
        let limit = RateLimitLayer::new(quota(10, burst));
        let finished = call_all(limit.layer(backend.clone()), calls(50)).await;
        assert_eq!(backend.refusals(), refusals);
        assert_eq!(backend.taken(), 50 - refusals);
        assert_eq!(count_ok(&finished), 50 - refusals);
        // A refusal by the backend is the tool's own failure, and no refusal of ours.
        assert_eq!(count(&finished, ErrorKind::Tool), refusals);
        assert_eq!(last_ok(&finished), Some(ms(done)));
    }
}

/// The negative control: without a limit, or with one that is off, the backend refuses 30.
#[tokio::test(start_paused = true)]
async fn q3_control_without_a_limit_the_backend_refuses_thirty() {
    let off = RateLimitLayer::new(None);
    for limited in [false, true] {
        let backend = RateLimitedTool::new();
        let stack = match limited {
            true => BoxTool::new(off.layer(backend.clone())),
            false => BoxTool::new(backend.clone()),
        };
        let finished = call_all(stack, calls(50)).await;
        assert_eq!((backend.taken(), backend.refusals()), (20, 30));
        assert_eq!(count(&finished, ErrorKind::Tool), 30);
        assert_eq!(last_ok(&finished), Some(ms(50)));
    }
}
