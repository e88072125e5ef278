//! Retries that resume from a checkpoint, the bounds on all attempts together, and calls that end
//! between two attempts.

use std::time::Duration;

use governor::Quota;
use serde_json::json;
use tokio::time::{Instant, sleep};
use toolbooth::{
    BoxError, CallContext, Checkpointed, CleanupLayer, ConcurrencyLimitLayer, Content, ErrorKind,
    MAX_CHECKPOINT, Outcome, PartialResultLayer, RateLimitLayer, RetryPolicy, TimeoutLayer,
    ToolCall, ToolError,
};
use toolbooth_test::{BoxTool, Recorder, boxed, call_all, ms};
use toolbooth_tests::{Kind, Layers, MINUTE, texts, tool};
use tower::retry::RetryLayer;
use tower::{Layer, ServiceBuilder, ServiceExt};

const ITEMS: u64 = 100;
const ITEM_TAKES: Duration = ms(10);
/// 30 items, and half of the next one.
const LIMIT: Duration = ms(305);

// === helpers ===

/// A tool whose every attempt is rejected by its backend.
fn rejecting(attempts: &Recorder<()>, retry_after: Duration) -> BoxTool {
    let attempts = attempts.clone();
    tool(move |_| {
        attempts.record(());
        std::future::ready(Err(ToolError::rate_limited(retry_after)))
    })
}

fn call() -> ToolCall {
    toolbooth_test::call("tool")
}

/// Waits only for the `retry_after` of an error.
fn at_once(attempts: u32) -> RetryPolicy {
    RetryPolicy::new(attempts).with_backoff(Duration::ZERO, Duration::ZERO)
}

fn number(content: Option<Content>) -> u64 {
    match content {
        Some(Content::Json(value)) => value.as_u64().expect("a number"),
        None => 0,
        Some(other) => unreachable!("not a checkpoint: {other:?}"),
    }
}

// === checkpoints ===

/// A tool that processes its items and, if set, stores a checkpoint after each.
fn import(done: &Recorder<u64>, attempts: &Recorder<u32>, checkpoints: bool) -> BoxTool {
    let (done, attempts) = (done.clone(), attempts.clone());
    tool(move |context| {
        attempts.record(context.attempt());
        let done = done.clone();
        async move {
            for item in number(context.last_checkpoint())..ITEMS {
                sleep(ITEM_TAKES).await;
                done.record(item);
                context.emit(format!("item {item}"));
                if checkpoints {
                    assert_eq!(context.checkpoint(json!(item + 1)), Checkpointed::Kept);
                }
            }
            Ok::<_, BoxError>("imported")
        }
    })
}

#[tokio::test(start_paused = true)]
async fn with_checkpoints_four_attempts_do_each_of_hundred_items_once() {
    let (done, attempts) = (Recorder::new(), Recorder::new());
    let stack = ServiceBuilder::new()
        .layer(RetryLayer::new(at_once(10).with_idempotent(true)))
        .layer(TimeoutLayer::new(LIMIT))
        .service(import(&done, &attempts, true));
    let start = Instant::now();
    let answer = stack.oneshot(call()).await.unwrap();
    assert_eq!(answer.collect().await.unwrap().text(), "imported");
    assert_eq!(attempts.take(), [1, 2, 3, 4]);
    assert_eq!(done.take(), (0..100).collect::<Vec<_>>());
    assert_eq!(start.elapsed(), 3 * LIMIT + 10 * ITEM_TAKES);
}

#[tokio::test(start_paused = true)]
async fn without_checkpoints_four_attempts_do_thirty_items_and_repeat_ninety() {
    let (done, attempts) = (Recorder::new(), Recorder::new());
    let stack = ServiceBuilder::new()
        .layer(RetryLayer::new(at_once(4).with_idempotent(true)))
        .layer(TimeoutLayer::new(LIMIT))
        .layer(PartialResultLayer::new())
        .service(import(&done, &attempts, false));
    let error = stack.oneshot(call()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(attempts.take(), [1, 2, 3, 4]);
    let mut done = done.take();
    assert_eq!(done, (0..30).cycle().take(120).collect::<Vec<_>>());
    done.sort_unstable();
    done.dedup();
    assert_eq!((done.len(), 120 - done.len()), (30, 90));
    // Of the last attempt alone.
    assert_eq!(error.partial().unwrap().contents().len(), 30);
}

/// A retry around `tool` in every position of every order of the five layers.
fn in_every_position(tool: &BoxTool, policy: &RetryPolicy) -> Vec<(String, BoxTool)> {
    let mut stacks = Vec::new();
    for order in Kind::orders() {
        for outside in 0..=5 {
            let layers = Layers::with(10 * MINUTE, 1_000, 1);
            let stack = layers.retried(policy.clone(), &order, outside, tool.clone());
            stacks.push((format!("{order:?}, retry inside {outside}"), stack));
        }
    }
    stacks
}

#[tokio::test(start_paused = true)]
async fn checkpoint_reaches_the_next_attempt_in_every_order_and_position() {
    let found = Recorder::new();
    let log = found.clone();
    let failing = tool(move |context: CallContext| {
        let from = number(context.last_checkpoint());
        log.record(from);
        let done = from + 3;
        context.checkpoint(json!(from + 1));
        context.checkpoint(json!(done));
        let error = ToolError::failed("the connection broke").with_retryable(true);
        std::future::ready(if done < 10 { Err(error) } else { Ok("done") })
    });
    let stacks = in_every_position(&failing, &at_once(9).without_budget());
    assert_eq!(stacks.len(), 120 * 6);
    for (case, stack) in stacks {
        let call = call();
        let context = call.context().clone();
        assert!(stack.oneshot(call).await.is_ok(), "{case}");
        assert_eq!(found.take(), [0, 3, 6, 9], "{case}");
        // The caller can read it after the end of the call.
        assert_eq!(number(context.last_checkpoint()), 12, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn final_error_carries_the_partial_of_the_last_attempt_that_published_any() {
    let failing = tool(|context: CallContext| {
        let attempt = context.attempt();
        for content in 0..[4, 3, 2, 0][attempt as usize - 1] {
            context.emit(format!("{attempt}.{content}"));
        }
        std::future::ready(Err(ToolError::failed("no").with_retryable(true)))
    });
    for (case, stack) in in_every_position(&failing, &at_once(4).without_budget()) {
        let error = stack.oneshot(call()).await.unwrap_err();
        assert_eq!(texts(error.partial()), ["3.0", "3.1"], "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn checkpoint_of_an_ended_attempt_is_ignored() {
    let contexts = Recorder::<CallContext>::new();
    let log = contexts.clone();
    let failing = tool(move |context: CallContext| {
        for over in log.values() {
            assert_eq!(over.checkpoint("late"), Checkpointed::Over);
        }
        context.checkpoint(format!("attempt {}", context.attempt()));
        log.record(context);
        std::future::ready(Err(ToolError::failed("no").with_retryable(true)))
    });
    let stack = ServiceBuilder::new()
        .layer(RetryLayer::new(at_once(3)))
        .layer(TimeoutLayer::unlimited())
        .service(failing);
    stack.oneshot(call()).await.unwrap_err();
    for context in contexts.values() {
        assert_eq!(context.checkpoint("late"), Checkpointed::Over);
        let last = context.last_checkpoint();
        assert_eq!(last, Some(Content::from("attempt 3")));
    }
}

#[tokio::test(start_paused = true)]
async fn checkpoint_that_is_too_large_is_rejected_and_the_previous_one_stays() {
    let call = call();
    let context = call.context();
    let largest = || "x".repeat(MAX_CHECKPOINT);
    assert_eq!(context.last_checkpoint(), None);
    assert_eq!(context.checkpoint(largest() + "x"), Checkpointed::TooLarge);
    assert_eq!(context.last_checkpoint(), None);
    assert_eq!(context.checkpoint(largest()), Checkpointed::Kept);
    assert_eq!(context.checkpoint(largest() + "x"), Checkpointed::TooLarge);
    assert_eq!(context.last_checkpoint(), Some(Content::from(largest())));
    // It needs no layer. A clone of the call is another attempt of the same call.
    assert_eq!(
        call.clone().context().checkpoint("last"),
        Checkpointed::Kept
    );
    assert_eq!(context.last_checkpoint(), Some(Content::from("last")));
    assert_eq!(context.partial(), None);
}

#[tokio::test(start_paused = true)]
async fn checkpoint_resets_the_idle_limit() {
    for (checkpoints, ended) in [(true, ms(1_000)), (false, ms(15))] {
        let stack = ServiceBuilder::new()
            .layer(TimeoutLayer::unlimited().with_idle(ms(15)))
            .service(tool(move |context| async move {
                for item in 1..=100 {
                    sleep(ITEM_TAKES).await;
                    if checkpoints {
                        context.checkpoint(json!(item));
                    }
                }
                Ok::<_, BoxError>("imported")
            }));
        let start = Instant::now();
        let answer = stack.oneshot(call()).await;
        assert_eq!((answer.is_ok(), start.elapsed()), (checkpoints, ended));
    }
}

#[tokio::test(start_paused = true)]
async fn call_that_starts_with_a_checkpoint_resumes_there() {
    let (done, attempts) = (Recorder::new(), Recorder::new());
    let stack = TimeoutLayer::new(LIMIT).layer(import(&done, &attempts, true));
    let first = call();
    let context = first.context().clone();
    stack.clone().oneshot(first).await.unwrap_err();
    let later = call().with_timeout(ms(60_000));
    later
        .context()
        .checkpoint(context.last_checkpoint().unwrap());
    stack.oneshot(later).await.unwrap();
    assert_eq!(done.take(), (0..100).collect::<Vec<_>>());
    assert_eq!(attempts.take(), [1, 1]);
}

// === bounds on all attempts together ===

#[tokio::test(start_paused = true)]
async fn budget_bounds_the_retries_of_a_thousand_failing_calls() {
    for (policy, extra) in [
        (at_once(3), 100),
        (at_once(3).without_budget(), 2_000),
        (at_once(1), 0),
    ] {
        let attempts = Recorder::new();
        let stack = ServiceBuilder::new()
            .layer(TimeoutLayer::new(ms(60_000)))
            .layer(ConcurrencyLimitLayer::new(1_000))
            .layer(RetryLayer::new(policy))
            .layer(TimeoutLayer::new(ms(1_000)))
            .layer(CleanupLayer::new())
            .layer(PartialResultLayer::new())
            .service(rejecting(&attempts, ms(50)));
        let finished = call_all(stack, (0..1_000).map(|_| call())).await;
        assert!(finished.iter().all(|call| call.result.is_err()));
        assert_eq!(attempts.take().len(), 1_000 + extra);
    }
}

// === the retry and one other layer ===

#[tokio::test(start_paused = true)]
async fn permit_is_held_during_backoff_only_by_a_limit_outside_the_retry() {
    let retry = RetryLayer::new(at_once(2));
    for (outside, free_between) in [(true, 0), (false, 1)] {
        let limit = ConcurrencyLimitLayer::new(1);
        let attempts = Recorder::new();
        let rejecting = rejecting(&attempts, ms(500));
        let stack = match outside {
            true => boxed(limit.layer(retry.layer(rejecting))),
            false => boxed(retry.layer(limit.layer(rejecting))),
        };
        let running = tokio::spawn(stack.oneshot(call()));
        sleep(ms(250)).await;
        assert_eq!(limit.available(), free_between, "outside: {outside}");
        running.await.unwrap().unwrap_err();
        assert_eq!((limit.available(), attempts.take().len()), (1, 2));
    }
}

/// The next attempt starts after the `retry_after` of the rejection.
#[tokio::test(start_paused = true)]
async fn call_rejected_by_an_inner_rate_limit_is_repeated_when_a_token_is_available() {
    let quota = Quota::with_period(ms(700)).expect("not 0");
    let rate = RateLimitLayer::new(quota).reject();
    let stack = ServiceBuilder::new()
        .layer(RetryLayer::new(at_once(2)))
        .layer(rate)
        .service(tool(|_| std::future::ready(Ok::<_, BoxError>("done"))));
    let finished = call_all(stack, (0..2).map(|_| call())).await;
    let ends: Vec<_> = finished
        .iter()
        .map(|call| (call.at, call.result.is_ok()))
        .collect();
    assert_eq!(ends, [(ms(0), true), (ms(700), true)]);
}

// === calls that end between two attempts ===

#[tokio::test(start_paused = true)]
async fn call_that_is_dropped_between_two_attempts_ends_once_and_releases_everything() {
    for outside in [true, false] {
        let (limit, cleanup) = (ConcurrencyLimitLayer::new(1), CleanupLayer::new());
        let hooks = Recorder::new();
        let log = hooks.clone();
        let rejecting = tool(move |context: CallContext| {
            context.on_cleanup(log.hook_for(context.attempt()));
            std::future::ready(Err(ToolError::rate_limited(ms(500))))
        });
        let retry = RetryLayer::new(at_once(5));
        let layers = (limit.clone(), cleanup.clone());
        let stack = match outside {
            true => boxed(layers.layer(retry.layer(rejecting))),
            false => boxed(retry.layer(layers.layer(rejecting))),
        };
        let running = tokio::spawn(stack.oneshot(call()));
        sleep(ms(750)).await;
        running.abort();
        assert!(running.await.unwrap_err().is_cancelled());
        assert_eq!((limit.available(), limit.queued()), (1, 0));
        let report = cleanup.drain(ms(1_000)).await;
        assert_eq!((report.ran, report.failed, report.abandoned), (2, 0, 0));
        sleep(ms(10_000)).await;
        let expected = match outside {
            // The hooks belong to the call, which its caller dropped.
            true => [(2, Outcome::Cancelled), (1, Outcome::Cancelled)],
            // Each attempt had ended on its own.
            false => [(1, Outcome::Rejected), (2, Outcome::Rejected)],
        };
        assert_eq!(hooks.values(), expected, "outside: {outside}");
    }
}

#[tokio::test(start_paused = true)]
async fn call_that_is_cancelled_between_two_attempts_ends_at_once() {
    let attempts = Recorder::new();
    let rejecting = rejecting(&attempts, ms(500));
    for (case, stack) in in_every_position(&rejecting, &at_once(9).without_budget()) {
        let call = call();
        let canceller = call.canceller();
        let start = Instant::now();
        let (ended, ()) = tokio::join!(stack.oneshot(call), async {
            sleep(ms(750)).await;
            canceller.cancel();
        });
        let error = ended.unwrap_err();
        let at = start.elapsed();
        assert_eq!(
            (error.kind(), at),
            (ErrorKind::Cancelled, ms(750)),
            "{case}"
        );
        assert_eq!(attempts.take().len(), 2, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn attempt_that_is_rejected_for_shutdown_is_the_last_one() {
    let attempts = Recorder::new();
    let cleanup = CleanupLayer::new();
    let layers = (RetryLayer::new(at_once(9)), cleanup.clone());
    let running = tokio::spawn(layers.layer(rejecting(&attempts, ms(500))).oneshot(call()));
    sleep(ms(750)).await;
    cleanup.close();
    let error = running.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    assert_eq!(attempts.take().len(), 2);
}
