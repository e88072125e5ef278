//! Groups of calls around whole stacks: the deadline of all, cancellation, cleanup and load.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};
use toolbooth::{
    BoxError, CallContext, CallGroup, CancelReason, CleanupLayer, Collected, ConcurrencyLimitLayer,
    Outcome, PartialResultLayer, ServiceBuilderExt, TimeoutScope, ToolCall, ToolError, tool_fn,
};
use toolbooth_test::{BoxTool, Probe, Recorder, boxed, cancel_reason, ms, timeout_of};
use tower::ServiceBuilder;

fn calls(millis: impl IntoIterator<Item = u64>) -> Vec<ToolCall> {
    let calls = millis.into_iter();
    calls
        .map(|millis| ToolCall::new("sleeps", json!(millis)))
        .collect()
}

/// A stack of cleanup and partial results around a tool that emits an item, registers a hook and
/// sleeps for its argument. An odd time is a failure.
fn stack(cleanup: &CleanupLayer, ended: &Recorder<Outcome>, inside: &Probe) -> BoxTool {
    let (ended, inside) = (ended.clone(), inside.clone());
    let sleeps = tool_fn("sleeps", move |call: CallContext, millis: u64| {
        let (ended, inside) = (ended.clone(), inside.clone());
        async move {
            let _inside = inside.enter();
            call.on_cleanup(ended.hook());
            call.emit("begun");
            sleep(Duration::from_millis(millis)).await;
            match millis % 2 {
                0 => Ok::<_, BoxError>("done"),
                _ => Err("failed".into()),
            }
        }
    });
    boxed(
        ServiceBuilder::new()
            .tool_cleanup(cleanup.clone())
            .tool_partial_results(PartialResultLayer::new())
            .service(sleeps),
    )
}

/// Asserts that a call expired at the deadline of its group, with its partial result.
#[track_caller]
fn assert_expired(outcome: &Result<Collected, ToolError>, at: Duration) {
    let error = outcome.as_ref().expect_err("it takes longer");
    assert_eq!(timeout_of(error), Some((TimeoutScope::Deadline, at, at)));
    assert_eq!(
        error.partial().map(|partial| partial.contents().len()),
        Some(1)
    );
}

#[tokio::test(start_paused = true)]
async fn twenty_slow_calls_have_twenty_outcomes_at_the_deadline() {
    let (cleanup, ended, inside) = (CleanupLayer::new(), Recorder::new(), Probe::new());
    let tool = stack(&cleanup, &ended, &inside);
    let started = Instant::now();
    let group = CallGroup::new().with_timeout(ms(3_000));
    let outcomes = group.all(tool, calls([5_000; 20])).await;
    assert_eq!(started.elapsed(), ms(3_000));
    assert_eq!((outcomes.len(), inside.running()), (20, 0));
    for outcome in &outcomes {
        assert_expired(outcome, ms(3_000));
    }
    cleanup.drain(ms(1_000)).await;
    assert_eq!(ended.values(), [Outcome::TimedOut; 20]);
}

#[tokio::test(start_paused = true)]
async fn fan_out_has_five_responses_and_five_timeouts_in_the_order_of_the_calls() {
    let (cleanup, ended, inside) = (CleanupLayer::new(), Recorder::new(), Probe::new());
    let tool = stack(&cleanup, &ended, &inside);
    let started = Instant::now();
    let group = CallGroup::new().with_timeout(ms(1_000));
    let mut outcomes = group.outcomes(tool, calls([100, 5_000].repeat(5)));
    let mut ends = Vec::new();
    while let Some((index, outcome)) = futures_util::StreamExt::next(&mut outcomes).await {
        ends.push((started.elapsed(), index, outcome));
    }
    ends.sort_by_key(|(_, index, _)| *index);
    for (at, index, outcome) in &ends {
        match index % 2 {
            0 => assert!(outcome.is_ok() && *at == ms(100)),
            _ => {
                assert_eq!(*at, ms(1_000));
                assert_expired(outcome, ms(1_000));
            }
        }
    }
    assert_eq!((ends.len(), inside.running()), (10, 0));
}

#[tokio::test(start_paused = true)]
async fn failure_cancels_the_siblings_at_once_and_all_clean_up() {
    let (cleanup, ended, inside) = (CleanupLayer::new(), Recorder::new(), Probe::new());
    let tool = stack(&cleanup, &ended, &inside);
    let started = Instant::now();
    let group = CallGroup::new().with_cancel_on_failure();
    let outcomes = group
        .all(tool, calls([5_000, 5_000, 101, 5_000, 5_000]))
        .await;
    assert_eq!(started.elapsed(), ms(101));
    assert_eq!(inside.running(), 0);
    for (index, outcome) in outcomes.iter().enumerate() {
        let error = outcome.as_ref().unwrap_err();
        let reason = (index != 2).then_some(CancelReason::Explicit);
        assert_eq!(cancel_reason(error), reason);
        assert!(error.partial().is_some());
    }
    let report = cleanup.drain(ms(1_000)).await;
    assert_eq!((report.ran, report.failed, report.abandoned), (5, 0, 0));
    let mut outcomes = ended.values();
    outcomes.sort_by_key(|outcome| outcome.as_str());
    let cancelled = Outcome::Cancelled;
    assert_eq!(
        outcomes,
        [cancelled, cancelled, cancelled, cancelled, Outcome::Failed]
    );
}

#[tokio::test(start_paused = true)]
async fn at_most_as_many_hooks_run_as_the_limit_allows_if_permits_are_held_until_they_end() {
    let (cleanup, hooks) = (CleanupLayer::new(), Probe::new());
    let inside = hooks.clone();
    let tool = tool_fn("sleeps", move |call: CallContext, millis: u64| {
        let inside = inside.clone();
        async move {
            call.on_cleanup(|_| async move {
                let _inside = inside.enter();
                sleep(ms(50)).await;
            });
            sleep(Duration::from_millis(millis)).await;
            Ok::<_, BoxError>("done")
        }
    });
    let limit = ConcurrencyLimitLayer::new(4).with_hold_until_ended();
    let tool = ServiceBuilder::new()
        .layer(limit)
        .layer(cleanup.clone())
        .service(tool);
    let started = Instant::now();
    let group = CallGroup::new().with_timeout(ms(1_000));
    let outcomes = group.all(tool, calls([10; 20])).await;
    assert!(outcomes.iter().all(Result::is_ok));
    // Five rounds of 10 ms and four of hooks between them.
    assert_eq!(started.elapsed(), ms(5 * 10 + 4 * 50));
    cleanup.drain(ms(1_000)).await;
    assert_eq!((hooks.max(), hooks.finished()), (4, 20));
}

#[tokio::test(start_paused = true)]
async fn nested_group_has_no_more_time_than_the_outer_one() {
    let (cleanup, ended, inside) = (CleanupLayer::new(), Recorder::new(), Probe::new());
    let leaf = stack(&cleanup, &ended, &inside);
    let remaining = Recorder::new();
    let log = remaining.clone();
    let parent = tool_fn("parent", move |call: CallContext, millis: u64| {
        let (leaf, log) = (leaf.clone(), log.clone());
        async move {
            sleep(ms(millis)).await;
            let child = call.child("sleeps", json!(60_000))?;
            log.record((child.context().remaining(), call.remaining()));
            let group = CallGroup::new().with_timeout(ms(2_000));
            let outcomes = group.all(leaf, [child]).await;
            Ok::<_, ToolError>(outcomes.iter().filter(|outcome| outcome.is_ok()).count())
        }
    });
    let started = Instant::now();
    let group = CallGroup::new().with_timeout(ms(1_000));
    let outcomes = group.all(parent, calls([0, 400])).await;
    assert_eq!(started.elapsed(), ms(1_000));
    // The tools return at the deadline, with the outcomes of their groups.
    assert!(outcomes.iter().all(Result::is_ok));
    let left = [1_000, 600].map(|left| (Some(ms(left)), Some(ms(left))));
    assert_eq!(remaining.values(), left);
    assert_eq!((inside.started(), inside.running()), (2, 0));
    cleanup.drain(ms(1_000)).await;
    assert_eq!(ended.values(), [Outcome::TimedOut; 2]);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_calls_in_one_group_have_ten_thousand_outcomes() {
    let (cleanup, ended, inside) = (CleanupLayer::new(), Recorder::new(), Probe::new());
    let tool = stack(&cleanup, &ended, &inside);
    let started = Instant::now();
    let group = CallGroup::new().with_timeout(ms(1_000));
    let outcomes = group
        .all(tool, calls((0..10_000).map(|n| n % 4 * 600)))
        .await;
    assert_eq!(started.elapsed(), ms(1_000));
    assert_eq!(
        (outcomes.len(), inside.started(), inside.running()),
        (10_000, 10_000, 0)
    );
    for (index, outcome) in outcomes.iter().enumerate() {
        match index % 4 {
            0 | 1 => assert!(outcome.is_ok()),
            _ => assert_expired(outcome, ms(1_000)),
        }
    }
    let report = cleanup.drain(ms(1_000)).await;
    assert_eq!((report.ran, ended.len()), (10_000, 10_000));
}

/// With a wake of each of n calls, the group polls n futures, not n for each wake.
#[tokio::test(start_paused = true)]
async fn polls_of_a_group_are_linear_in_its_calls() {
    let polls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&polls);
    let tool = tool_fn("sleeps", move |millis: u64| {
        let count = Arc::clone(&count);
        let mut sleep = Box::pin(sleep(Duration::from_millis(millis)));
        std::future::poll_fn(move |cx| {
            count.fetch_add(1, Ordering::Relaxed);
            sleep.as_mut().poll(cx).map(|()| Ok::<_, BoxError>("done"))
        })
    });
    let outcomes = CallGroup::new().all(tool, calls(1..=2_000)).await;
    assert!(outcomes.iter().all(Result::is_ok));
    // Two for each, and some more by the cooperative budget.
    let polls = polls.load(Ordering::Relaxed);
    assert!((4_000..=6_000).contains(&polls), "{polls} polls");
}
