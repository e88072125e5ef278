//! Retries that resume: what an attempt achieved is there for the next one, all attempts together keep to the deadline and the
//! budget, and what is in hand between two of them is given back.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use governor::Quota;
use serde_json::json;
use tokio::time::{Instant, sleep};
use toolbooth::{
    BoxError, CallContext, Checkpointed, CleanupLayer, ConcurrencyLimitLayer, Content, ErrorKind,
    MAX_CHECKPOINT, Outcome, Partial, PartialResultLayer, RateLimitLayer, RetryPolicy,
    TimeoutLayer, ToolCall, ToolError, ToolOutput, tool_fn,
};
use toolbooth_test::{Stopwatch, call_all, ms};
use tower::retry::{Retry, RetryLayer};
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

type Tool = BoxCloneSyncService<ToolCall, ToolOutput, ToolError>;
type Log<T> = Arc<Mutex<Vec<T>>>;

const ITEMS: u64 = 100;
const ITEM_TAKES: Duration = ms(10);
/// 30 items, and half of the next one.
const CUT: Duration = ms(305);

// === helpers ===

fn record<T>(log: &Log<T>, entry: T) {
    log.lock().expect("no panic").push(entry);
}

fn take<T>(log: &Log<T>) -> Vec<T> {
    std::mem::take(&mut *log.lock().expect("no panic"))
}

fn boxed<S>(service: S) -> Tool
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    Tool::new(service)
}

/// A tool that takes its context, for as long as the future lasts.
fn tool<F, Fut, E>(run: F) -> Tool
where
    F: Fn(CallContext) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<&'static str, E>> + Send + 'static,
    E: Into<BoxError> + 'static,
{
    boxed(tool_fn("tool", move |context, (): ()| run(context)))
}

/// A tool that is refused by what it works with, always.
fn dead(attempts: &Log<Duration>, retry_after: Duration) -> Tool {
    let (attempts, watch) = (Arc::clone(attempts), Stopwatch::start());
    tool(move |_| {
        record(&attempts, watch.elapsed());
        std::future::ready(Err(ToolError::rate_limited(retry_after)))
    })
}

fn call() -> ToolCall {
    ToolCall::new("tool", json!(null))
}

/// Waits only where an error says how long.
fn at_once(attempts: u32) -> RetryPolicy {
    RetryPolicy::new(attempts).with_backoff(Duration::ZERO, Duration::ZERO)
}

fn texts(partial: Option<&Partial>) -> Vec<&str> {
    let contents = partial.map_or(&[][..], Partial::contents);
    contents.iter().filter_map(Content::as_text).collect()
}

fn number(content: Option<Content>) -> u64 {
    match content {
        Some(Content::Json(value)) => value.as_u64().expect("a number"),
        None => 0,
        Some(other) => unreachable!("no other was left: {other:?}"),
    }
}

// === what survives into the next attempt ===

/// Works through its items, and leaves word after each where it is told to.
fn import(done: &Log<u64>, attempts: &Log<u32>, checkpoints: bool) -> Tool {
    let (done, attempts) = (Arc::clone(done), Arc::clone(attempts));
    tool(move |context| {
        record(&attempts, context.attempt());
        let done = Arc::clone(&done);
        async move {
            for item in number(context.last_checkpoint())..ITEMS {
                sleep(ITEM_TAKES).await;
                record(&done, item);
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
async fn hundred_items_cut_every_thirty_take_four_attempts_and_each_is_done_once() {
    let (done, attempts) = (Log::default(), Log::default());
    let stack = ServiceBuilder::new()
        .layer(RetryLayer::new(at_once(10)))
        .layer(TimeoutLayer::new(CUT))
        .service(import(&done, &attempts, true));
    let start = Instant::now();
    let answer = stack.oneshot(call()).await.unwrap();
    assert_eq!(answer.collect().await.unwrap().text(), "imported");
    assert_eq!(take(&attempts), [1, 2, 3, 4]);
    assert_eq!(take(&done), (0..100).collect::<Vec<_>>());
    assert_eq!(start.elapsed(), 3 * CUT + 10 * ITEM_TAKES);
}

#[tokio::test(start_paused = true)]
async fn without_checkpoints_four_attempts_do_thirty_items_and_repeat_ninety() {
    let (done, attempts) = (Log::default(), Log::default());
    let stack = ServiceBuilder::new()
        .layer(RetryLayer::new(at_once(4)))
        .layer(TimeoutLayer::new(CUT))
        .layer(PartialResultLayer::new())
        .service(import(&done, &attempts, false));
    let error = stack.oneshot(call()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(take(&attempts), [1, 2, 3, 4]);
    let mut done = take(&done);
    assert_eq!(done, (0..30).cycle().take(120).collect::<Vec<_>>());
    done.sort_unstable();
    done.dedup();
    assert_eq!((done.len(), 120 - done.len()), (30, 90));
    // Of the last attempt alone.
    assert_eq!(error.partial().unwrap().contents().len(), 30);
}

/// What stands around the retry, and what inside.
fn in_every_position(tool: &Tool, policy: &RetryPolicy) -> Vec<(String, Tool)> {
    type Wrap = fn(Tool) -> Tool;
    let layers: [(&str, Wrap); 5] = [
        ("timeout", |tool| {
            boxed(TimeoutLayer::new(ms(600_000)).layer(tool))
        }),
        ("rate", |tool| {
            let often = NonZeroU32::new(1_000).expect("not 0");
            boxed(RateLimitLayer::new(Quota::per_second(often)).layer(tool))
        }),
        ("concurrency", |tool| {
            boxed(ConcurrencyLimitLayer::new(1).layer(tool))
        }),
        ("cleanup", |tool| boxed(CleanupLayer::new().layer(tool))),
        ("partial", |tool| {
            boxed(PartialResultLayer::new().layer(tool))
        }),
    ];
    let mut orders: Vec<Vec<(&str, Wrap)>> = vec![vec![]];
    for _ in layers {
        orders = orders
            .iter()
            .flat_map(|order| {
                let rest = layers
                    .iter()
                    .filter(|(name, _)| order.iter().all(|(other, _)| other != name));
                rest.map(|layer| [order.as_slice(), &[*layer]].concat())
            })
            .collect();
    }
    let mut stacks = Vec::new();
    for order in orders {
        for outside in 0..=order.len() {
            let wrap = |layers: &[(&str, Wrap)], tool| {
                layers.iter().rev().fold(tool, |tool, (_, wrap)| wrap(tool))
            };
            let (outer, inner) = order.split_at(outside);
            let retry = boxed(Retry::new(policy.clone(), wrap(inner, tool.clone())));
            let names: Vec<_> = order.iter().map(|(name, _)| *name).collect();
            stacks.push((
                format!("retry inside {outside} of {names:?}"),
                wrap(outer, retry),
            ));
        }
    }
    stacks
}

#[tokio::test(start_paused = true)]
async fn checkpoint_survives_in_every_order_and_at_every_position_of_the_retry() {
    let found = Log::default();
    let log = Arc::clone(&found);
    let failing = tool(move |context: CallContext| {
        let from = number(context.last_checkpoint());
        record(&log, from);
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
        assert_eq!(take(&found), [0, 3, 6, 9], "{case}");
        // Its owner can read it as well, also when the call is over.
        assert_eq!(number(context.last_checkpoint()), 12, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn final_error_carries_the_partial_of_the_last_attempt_that_published_any() {
    let failing = tool(|context: CallContext| {
        let attempt = context.attempt();
        for piece in 0..[4, 3, 2, 0][attempt as usize - 1] {
            context.emit(format!("{attempt}.{piece}"));
        }
        std::future::ready(Err(ToolError::failed("no").with_retryable(true)))
    });
    for (case, stack) in in_every_position(&failing, &at_once(4).without_budget()) {
        let error = stack.oneshot(call()).await.unwrap_err();
        assert_eq!(texts(error.partial()), ["3.0", "3.1"], "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn checkpoint_of_an_attempt_that_is_over_goes_nowhere() {
    let contexts = Log::<CallContext>::default();
    let kept = Arc::clone(&contexts);
    let failing = tool(move |context: CallContext| {
        let mut contexts = kept.lock().expect("no panic");
        for over in &*contexts {
            assert_eq!(over.checkpoint("late"), Checkpointed::Over);
        }
        context.checkpoint(format!("attempt {}", context.attempt()));
        contexts.push(context);
        std::future::ready(Err(ToolError::failed("no").with_retryable(true)))
    });
    let stack = ServiceBuilder::new()
        .layer(RetryLayer::new(at_once(3)))
        .layer(TimeoutLayer::unlimited())
        .service(failing);
    stack.oneshot(call()).await.unwrap_err();
    let contexts = take(&contexts);
    for context in contexts {
        assert_eq!(context.checkpoint("late"), Checkpointed::Over);
        let last = context.last_checkpoint();
        assert_eq!(last, Some(Content::from("attempt 3")));
    }
}

#[tokio::test(start_paused = true)]
async fn checkpoint_that_is_too_large_is_refused_and_the_one_before_stays() {
    let call = call();
    let context = call.context();
    let largest = || "x".repeat(MAX_CHECKPOINT);
    assert_eq!(context.last_checkpoint(), None);
    assert_eq!(context.checkpoint(largest() + "x"), Checkpointed::TooLarge);
    assert_eq!(context.last_checkpoint(), None);
    assert_eq!(context.checkpoint(largest()), Checkpointed::Kept);
    assert_eq!(context.checkpoint(largest() + "x"), Checkpointed::TooLarge);
    assert_eq!(context.last_checkpoint(), Some(Content::from(largest())));
    // No layer is needed, and a clone is another attempt of the same call.
    assert_eq!(
        call.clone().context().checkpoint("last"),
        Checkpointed::Kept
    );
    assert_eq!(context.last_checkpoint(), Some(Content::from("last")));
    assert_eq!(context.partial(), None);
}

#[tokio::test(start_paused = true)]
async fn checkpoint_is_a_sign_of_life() {
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
async fn call_that_is_given_a_checkpoint_resumes_there() {
    let (done, attempts) = (Log::default(), Log::default());
    let stack = TimeoutLayer::new(CUT).layer(import(&done, &attempts, true));
    let first = call();
    let context = first.context().clone();
    stack.clone().oneshot(first).await.unwrap_err();
    let later = call().with_timeout(ms(60_000));
    later
        .context()
        .checkpoint(context.last_checkpoint().unwrap());
    stack.oneshot(later).await.unwrap();
    assert_eq!(take(&done), (0..100).collect::<Vec<_>>());
    assert_eq!(take(&attempts), [1, 1]);
}

// === what bounds all attempts together ===

#[tokio::test(start_paused = true)]
async fn thousand_calls_of_a_dead_tool_cost_no_more_than_the_budget_in_extra_calls() {
    for (policy, extra) in [
        (at_once(3), 100),
        (at_once(3).without_budget(), 2_000),
        (at_once(1), 0),
    ] {
        let attempts = Log::default();
        let stack = ServiceBuilder::new()
            .layer(TimeoutLayer::new(ms(60_000)))
            .layer(ConcurrencyLimitLayer::new(1_000))
            .layer(RetryLayer::new(policy))
            .layer(TimeoutLayer::new(ms(1_000)))
            .layer(CleanupLayer::new())
            .layer(PartialResultLayer::new())
            .service(dead(&attempts, ms(50)));
        let finished = call_all(stack, (0..1_000).map(|_| call())).await;
        assert!(finished.iter().all(|call| call.result.is_err()));
        assert_eq!(take(&attempts).len(), 1_000 + extra);
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_end_before_the_deadline_wherever_it_comes_from() {
    let policy = at_once(100).without_budget();
    for (limit, expected) in [(1_999, 4), (2_000, 4), (2_001, 5)] {
        let attempts = Log::default();
        let retried = RetryLayer::new(policy.clone()).layer(dead(&attempts, ms(500)));
        let limited = TimeoutLayer::new(ms(limit)).layer(retried.clone());
        for (stack, of_the_call) in [(boxed(retried), true), (boxed(limited), false)] {
            let start = Instant::now();
            let call = match of_the_call {
                true => call().with_deadline(start + ms(limit)),
                false => call(),
            };
            let error = stack.oneshot(call).await.unwrap_err();
            // The refusal as it is, at once: it says when to try again, and no limit struck.
            assert_eq!(error.retry_after(), Some(ms(500)));
            assert_eq!(take(&attempts).len(), expected, "{limit}");
            assert_eq!(start.elapsed().as_millis(), 500 * (expected as u128 - 1));
        }
    }
}

// === the order of the retry and another layer ===

#[tokio::test(start_paused = true)]
async fn timeout_outside_is_for_the_call_and_inside_for_each_attempt() {
    let hanging = tool(|context: CallContext| async move {
        if context.attempt() < 3 {
            std::future::pending::<()>().await;
        }
        Ok::<_, BoxError>("done")
    });
    let limit = TimeoutLayer::new(ms(200));
    let retry = RetryLayer::new(at_once(5));
    let start = Instant::now();
    let outside = limit.layer(retry.layer(hanging.clone()));
    let error = outside.oneshot(call()).await.unwrap_err();
    assert_eq!(
        (error.kind(), start.elapsed()),
        (ErrorKind::Timeout, ms(200))
    );

    let start = Instant::now();
    let inside = retry.layer(limit.layer(hanging));
    assert!(inside.oneshot(call()).await.is_ok());
    assert_eq!(start.elapsed(), ms(400));
}

#[tokio::test(start_paused = true)]
async fn permit_is_held_through_the_waits_outside_of_the_retry_and_free_inside() {
    let retry = RetryLayer::new(at_once(2));
    for (outside, free_between) in [(true, 0), (false, 1)] {
        let limit = ConcurrencyLimitLayer::new(1);
        let attempts = Log::default();
        let refused = dead(&attempts, ms(500));
        let stack = match outside {
            true => boxed(limit.layer(retry.layer(refused))),
            false => boxed(retry.layer(limit.layer(refused))),
        };
        let running = tokio::spawn(stack.oneshot(call()));
        sleep(ms(250)).await;
        assert_eq!(limit.available(), free_between, "outside: {outside}");
        running.await.unwrap().unwrap_err();
        assert_eq!((limit.available(), take(&attempts).len()), (1, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn token_is_taken_once_outside_of_the_retry_and_by_each_attempt_inside() {
    let retry = RetryLayer::new(at_once(3));
    for (outside, spent) in [(true, 1), (false, 3)] {
        let burst = NonZeroU32::new(10).expect("not 0");
        let rate = RateLimitLayer::new(Quota::per_hour(NonZeroU32::MIN).allow_burst(burst));
        let refused = dead(&Log::default(), ms(1));
        let stack = match outside {
            true => boxed(rate.layer(retry.layer(refused))),
            false => boxed(retry.layer(rate.layer(refused))),
        };
        stack.oneshot(call()).await.unwrap_err();
        assert_eq!(rate.remaining(), 10 - spent, "outside: {outside}");
    }
}

/// The refusal of our own limit says when there is a token, and that is when the next attempt comes.
#[tokio::test(start_paused = true)]
async fn refusal_of_a_rate_limit_inside_is_made_again_when_there_is_a_token() {
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

// === leaving between two attempts ===

#[tokio::test(start_paused = true)]
async fn call_that_is_dropped_between_two_attempts_ends_once_and_gives_everything_back() {
    for outside in [true, false] {
        let (limit, cleanup) = (ConcurrencyLimitLayer::new(1), CleanupLayer::new());
        let told = Log::default();
        let log = Arc::clone(&told);
        let refused = tool(move |context: CallContext| {
            let (log, attempt) = (Arc::clone(&log), context.attempt());
            context.on_cleanup(move |outcome| async move { record(&log, (attempt, outcome)) });
            std::future::ready(Err(ToolError::rate_limited(ms(500))))
        });
        let retry = RetryLayer::new(at_once(5));
        let layers = (limit.clone(), cleanup.clone());
        let stack = match outside {
            true => boxed(layers.layer(retry.layer(refused))),
            false => boxed(retry.layer(layers.layer(refused))),
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
            // The call ended once, by its caller.
            true => [(2, Outcome::Cancelled), (1, Outcome::Cancelled)],
            // Each attempt had ended by itself.
            false => [(1, Outcome::Rejected), (2, Outcome::Rejected)],
        };
        assert_eq!(take(&told), expected, "outside: {outside}");
    }
}

#[tokio::test(start_paused = true)]
async fn call_that_is_cancelled_between_two_attempts_ends_then_and_is_not_made_again() {
    let attempts = Log::default();
    let refused = dead(&attempts, ms(500));
    for (case, stack) in in_every_position(&refused, &at_once(9).without_budget()) {
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
        assert_eq!(take(&attempts).len(), 2, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn attempt_that_is_refused_for_shutdown_is_the_last_one() {
    let attempts = Log::default();
    let cleanup = CleanupLayer::new();
    let layers = (RetryLayer::new(at_once(9)), cleanup.clone());
    let running = tokio::spawn(layers.layer(dead(&attempts, ms(500))).oneshot(call()));
    sleep(ms(750)).await;
    cleanup.close();
    let error = running.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(take(&attempts).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn call_whose_caller_is_cut_is_not_made_again() {
    let attempts = Log::default();
    let log = Arc::clone(&attempts);
    let cut = tool(move |context: CallContext| {
        record(&log, context.attempt());
        // A tool that sees its call cut, and says so.
        let reason = toolbooth::CancelReason::CallerGone;
        std::future::ready(Err(ToolError::cancelled(reason)))
    });
    let stack = RetryLayer::new(at_once(5)).layer(cut);
    let error = stack
        .oneshot(call().with_idempotent(true))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(take(&attempts), [1]);
}
