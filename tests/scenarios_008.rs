//! The scenarios of a stress-test report on concurrent tool calls (008).
//!
//! All times are equalities on the paused clock. The guarantees that follow are in the target
//! `limits` of `toolbooth`.

use std::convert::Infallible;

use tokio::time::sleep;
use toolbooth::{
    BoxError, CallContext, CircuitBreakerLayer, ConcurrencyLimitLayer, ErrorKind, Order, Outcome,
    RateLimitLayer, SharedState, StateLayer, ToolCall, ToolError, ToolOutput, tool_fn,
};
use toolbooth_test::{
    FailingTool, FastTool, RaceConditionTool, RateLimitedTool, Recorder, ResourceIntensiveTool,
    SlowTool, Stopwatch, boxed, call, call_all, count_kind, count_ok, last_ok, ms, outcome,
};
use toolbooth_tests::{calls, quota};
use tower::{Layer, Service, ServiceExt};

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

/// L7, control: without a limit all calls run at once.
#[tokio::test(start_paused = true)]
async fn high_concurrency_without_a_limit() {
    for n in [10, 25, 50, 75, 100] {
        let tool = FastTool::new();
        let off = ConcurrencyLimitLayer::new(None);
        for stack in [boxed(tool.clone()), boxed(off.layer(tool.clone()))] {
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

/// Control: twenty tools with a lock each around one counter lose all updates but one.
#[tokio::test(start_paused = true)]
async fn race_condition_20() {
    let first = RaceConditionTool::new();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..20 {
        calls.spawn(RaceConditionTool::sharing(&first).oneshot(call("count")));
    }
    assert!(calls.join_all().await.iter().all(Result::is_ok));
    assert_eq!(first.count(), 1);
}

/// The same, with the atomic operations of a state that the tools share.
#[tokio::test(start_paused = true)]
async fn race_condition_20_with_shared_state_loses_no_update() {
    let state = SharedState::new();
    let tool = tool_fn("count", async |call: CallContext, (): ()| {
        let state = call.extension::<SharedState>().ok_or("there is no state")?;
        sleep(ms(1)).await;
        Ok::<_, BoxError>(state.increment("counter", 1)?)
    });
    let finished = call_all(StateLayer::new(state.clone()).layer(tool), calls(20)).await;
    assert_eq!((count_ok(&finished), last_ok(&finished)), (20, Some(ms(1))));
    let numbers = finished
        .iter()
        .map(|call| call.result.as_ref().unwrap().text());
    let mut numbers: Vec<u64> = numbers.map(|number| number.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=20).collect::<Vec<_>>());
    assert_eq!(state.get::<i64>("counter").unwrap(), Some(20));
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
    assert_eq!(count_kind(&finished, ErrorKind::RateLimited), 40);
    for rejected in finished
        .iter()
        .filter_map(|done| done.result.as_ref().err())
    {
        assert_eq!(rejected.retry_after(), Some(ms(100)));
        assert!(rejected.is_retryable());
    }
    assert_eq!((backend.accepted(), backend.rejections()), (10, 0));
}

/// Makes 20 calls one after the other and returns their outcomes.
async fn twenty<S>(stack: &S) -> Vec<Outcome>
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError> + Clone,
{
    let mut outcomes = Vec::new();
    for _ in 0..20 {
        let result = stack.clone().oneshot(call("failing")).await;
        outcomes.push(outcome(Ok::<_, ()>(result)));
    }
    outcomes
}

/// Without a breaker every call reaches the tool.
#[tokio::test(start_paused = true)]
async fn cascading_failure_20() {
    let tool = FailingTool::new(14);
    let outcomes = twenty(&ConcurrencyLimitLayer::new(10).layer(tool.clone())).await;
    let expected = [vec![Outcome::Completed; 14], vec![Outcome::Failed; 6]].concat();
    assert_eq!(outcomes, expected);
    assert_eq!(tool.calls(), 20);
}

/// The fifth failure in a row opens the breaker, so that the last call does not reach the tool.
#[tokio::test(start_paused = true)]
async fn cascading_failure_20_behind_a_breaker() {
    let tool = FailingTool::new(14);
    let stack = CircuitBreakerLayer::new().layer(tool.clone());
    let (completed, failed) = (vec![Outcome::Completed; 14], vec![Outcome::Failed; 5]);
    let expected = [completed, failed, vec![Outcome::Rejected]].concat();
    assert_eq!(twenty(&stack).await, expected);
    assert_eq!(tool.calls(), 19);
    let rejected = stack.oneshot(call("failing")).await.unwrap_err();
    assert_eq!(rejected.kind(), ErrorKind::CircuitOpen);
    assert_eq!(rejected.retry_after(), Some(ms(30_000)));
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

        // With a limit of two.
        let tool = ResourceIntensiveTool::new(BLOCK, ms(takes));
        let stack = ConcurrencyLimitLayer::new(2).layer(tool.clone());
        let finished = call_all(stack, calls(5)).await;
        assert_eq!(last_ok(&finished), Some(ms(3 * takes)));
        assert_eq!(count_ok(&finished), 5);
        assert_eq!((tool.peak_bytes(), tool.live_bytes()), (2 * BLOCK, 0));

        // With a limit on their cost: 2,048 KB each, of 4,096.
        let tool = ResourceIntensiveTool::new(BLOCK, ms(takes));
        let budget = ConcurrencyLimitLayer::new(4_096).with_cost(|_| 2_048);
        let finished = call_all(budget.layer(tool.clone()), calls(5)).await;
        assert_eq!(last_ok(&finished), Some(ms(3 * takes)));
        assert_eq!((count_ok(&finished), tool.probe().max()), (5, 2));
        assert_eq!((tool.peak_bytes(), tool.live_bytes()), (4_096 << 10, 0));
        assert_eq!((budget.available(), budget.queued()), (4_096, 0));
    }
}

// === the report's pipelines, which it specifies without results ===

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

/// Its calls wait for one lock: 10 calls of 1 ms take 10 ms, behind a limit or without one.
#[tokio::test(start_paused = true)]
async fn race_condition_of_one_tool_counts_all_calls() {
    for limit in [None, Some(3)] {
        let tool = RaceConditionTool::new();
        let stack = ConcurrencyLimitLayer::new(limit).layer(tool.clone());
        let finished = call_all(stack, calls(10)).await;
        assert_eq!(
            (count_ok(&finished), last_ok(&finished)),
            (10, Some(ms(10)))
        );
        assert_eq!(tool.count(), 10);
        let counts = finished
            .iter()
            .map(|call| call.result.as_ref().unwrap().text());
        let expected: Vec<_> = (1..=10).map(|count| count.to_string()).collect();
        assert_eq!(counts.collect::<Vec<_>>(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn rate_limit_simulation() {
    for n in [10, 25, 50, 75, 100] {
        let limit = RateLimitLayer::new(quota(10, 10)).reject();
        let tool = FastTool::new();
        let finished = call_all(limit.layer(tool.clone()), calls(n)).await;
        assert_eq!(count_ok(&finished), 10);
        assert_eq!(count_kind(&finished, ErrorKind::RateLimited), n - 10);
        assert_eq!(tool.probe().started(), 10);
    }
}

/// Two each of priority 0, 5 and 10, queued behind a call that holds the only permit.
#[tokio::test(start_paused = true)]
async fn priority_pipeline() {
    let starts = Recorder::new();
    let record = starts.clone();
    let tool = tool_fn("priority", move |call: CallContext, (): ()| {
        record.record(call.priority());
        async {
            sleep(ms(100)).await;
            Ok::<_, Infallible>("done")
        }
    });
    let limit = ConcurrencyLimitLayer::new(1).with_order(Order::priority());
    let stack = limit.layer(tool);
    let holder = call("priority").with_priority(i32::MAX);
    let six = [0, 0, 5, 5, 10, 10].map(|priority| call("priority").with_priority(priority));
    let finished = call_all(stack, [holder].into_iter().chain(six)).await;
    assert_eq!(
        (count_ok(&finished), last_ok(&finished)),
        (7, Some(ms(700)))
    );
    let order = [(100, 10), (200, 10), (300, 5), (400, 5), (500, 0), (600, 0)];
    // 600 ms from the release of that permit.
    assert_eq!(
        starts.entries()[1..],
        order.map(|(at, priority)| (ms(at), priority))
    );
}
