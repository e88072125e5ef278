//! Which ends of a call count: timeouts, waits, drops, retries; and the rates of what is counted.

use std::num::NonZeroU32;

use toolbooth::{
    BoxError, CallContext, ConcurrencyLimitLayer, Quota, RateLimitLayer, TimeoutLayer,
};
use tower::ServiceBuilder;
use tower::layer::util::Stack;
use tower::retry::{Policy, RetryLayer};

use super::support::{streams, takes, ticking};
use super::*;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Failure,
    Ignored,
    Success,
}

/// What one call counts as, which `make` makes through the given breaker.
pub(super) async fn verdict_of<F: Future<Output = ()>>(
    policy: BreakerPolicy,
    make: impl FnOnce(CircuitBreakerLayer) -> F,
) -> Verdict {
    let breaker = CircuitBreakerLayer::with_policy(policy);
    // It opens at the second consecutive failure: at this call, after it, or not at all.
    let failing = breaker.layer(fails("down"));
    error_of(failing.clone(), call()).await;
    make(breaker.clone()).await;
    if breaker.state() == BreakerState::Open {
        return Verdict::Failure;
    }
    error_of(failing, call()).await;
    match breaker.state() {
        BreakerState::Open => Verdict::Ignored,
        _ => Verdict::Success,
    }
}

/// What a call counts as whose tool returns this.
pub(super) async fn verdict<F, Fut>(policy: BreakerPolicy, work: F) -> Verdict
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<ToolOutput, BoxError>> + Send + 'static,
{
    verdict_of(policy, |breaker| async move {
        let tool = ScriptedTool::new(move |_| work());
        if let Ok(output) = breaker.layer(tool).oneshot(call()).await {
            output.collect().await.ok();
        }
    })
    .await
}

/// What a call counts as that expires in this stack.
async fn verdict_of_expired<S>(stack: impl FnOnce(CircuitBreakerLayer) -> S) -> Verdict
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError>,
{
    verdict_of(two(), |breaker| {
        let stack = stack(breaker);
        async { assert_eq!(error_of(stack, call()).await.kind(), ErrorKind::Timeout) }
    })
    .await
}

fn in_10_ms() -> TimeoutLayer {
    TimeoutLayer::new(ms(10))
}

#[tokio::test(start_paused = true)]
async fn dropped_call_counts_only_with_drops() {
    let dropped = |policy| {
        verdict_of(policy, |breaker| async move {
            let mut service = breaker.layer(ScriptedTool::pending());
            assert_pending!(task::spawn(service.call(call())).poll());
        })
    };
    assert_eq!(dropped(two()).await, Verdict::Ignored);
    assert_eq!(dropped(two().with_drops(true)).await, Verdict::Failure);
}

#[tokio::test(start_paused = true)]
async fn timeout_counts_outside_and_inside() {
    let pending = ScriptedTool::pending;
    let outside = |breaker: CircuitBreakerLayer| in_10_ms().layer(breaker.layer(pending()));
    assert_eq!(verdict_of_expired(outside).await, Verdict::Failure);
    let inside = |breaker: CircuitBreakerLayer| breaker.layer(in_10_ms().layer(pending()));
    assert_eq!(verdict_of_expired(inside).await, Verdict::Failure);
    // The wait for the readiness of a foreign service counts.
    let unready = |breaker: CircuitBreakerLayer| {
        let tool = pending().with_readiness(Readiness::Pending);
        in_10_ms().layer(breaker.layer(tool))
    };
    assert_eq!(verdict_of_expired(unready).await, Verdict::Failure);
    // So does a streaming response that expires.
    let streamed = verdict_of(two(), |breaker| async move {
        let (tool, _) = streams(|probe| ticking(probe, ms(20), ["a", "b"]));
        let stack = in_10_ms().layer(breaker.layer(tool));
        let collected = stack.oneshot(call()).await.unwrap().collect().await;
        assert_eq!(collected.unwrap_err().kind(), ErrorKind::Timeout);
    });
    assert_eq!(streamed.await, Verdict::Failure);
}

/// A concurrency limit whose one permit is taken while the second value lives.
fn taken(queue: usize) -> (ConcurrencyLimitLayer, impl Sized + Send) {
    let limit = ConcurrencyLimitLayer::new(1).with_queue_capacity(queue);
    let mut service = limit.layer(ScriptedTool::pending());
    let holder = service.call(call());
    assert_eq!(limit.available(), 0);
    (limit, holder)
}

/// What a call counts as that waits in the queue of these limits until a timeout expires.
macro_rules! verdict_in_queue {
    ($limits:expr) => {{
        let (limits, _taken) = $limits;
        let outside = |breaker: CircuitBreakerLayer| {
            in_10_ms().layer(breaker.layer(limits.layer(ScriptedTool::ready())))
        };
        let outside = verdict_of(two(), |breaker| async {
            error_of(outside(breaker), call()).await;
        });
        let inside = |breaker: CircuitBreakerLayer| {
            breaker.layer(in_10_ms().layer(limits.layer(ScriptedTool::ready())))
        };
        let inside = verdict_of(two(), |breaker| async {
            error_of(inside(breaker), call()).await;
        });
        (outside.await, inside.await)
    }};
}

#[tokio::test(start_paused = true)]
async fn time_in_a_queue_alone_does_not_count() {
    let ignored = (Verdict::Ignored, Verdict::Ignored);
    assert_eq!(verdict_in_queue!(taken(1_024)), ignored);
    // A queue behind a limit with a free permit.
    let (first, taken) = taken(1_024);
    let two_limits = Stack::new(first, ConcurrencyLimitLayer::new(1));
    assert_eq!(verdict_in_queue!((two_limits, taken)), ignored);
    // A token that comes after the deadline.
    let rate = RateLimitLayer::new(Quota::per_hour(NonZeroU32::MIN));
    drop(rate.layer(ScriptedTool::ready()).call(call()));
    assert_eq!(verdict_in_queue!((rate, ())), ignored);
}

#[tokio::test(start_paused = true)]
async fn tool_that_starts_after_a_wait_counts() {
    let started = verdict_of(two(), |breaker| async move {
        let (limit, taken) = taken(1_024);
        let inner = limit.layer(ScriptedTool::pending());
        let stack = in_10_ms().layer(breaker.layer(inner));
        let release = async move {
            tokio::time::sleep(ms(5)).await;
            drop(taken);
        };
        let (expired, ()) = tokio::join!(error_of(stack, call()), release);
        assert_eq!(expired.kind(), ErrorKind::Timeout);
    });
    assert_eq!(started.await, Verdict::Failure);
}

/// Retries every error after 1 ms.
#[derive(Clone)]
struct Again;

type Work<T> = std::pin::Pin<Box<dyn Future<Output = T> + Send>>;

impl<T> Policy<ToolCall, T, ToolError> for Again {
    type Future = Work<()>;

    fn retry(&mut self, _: &mut ToolCall, result: &mut Result<T, ToolError>) -> Option<Work<()>> {
        let failed = result.is_err();
        failed.then(|| Box::pin(tokio::time::sleep(ms(1))) as Work<()>)
    }

    fn clone_request(&mut self, call: &ToolCall) -> Option<ToolCall> {
        Some(call.clone())
    }
}

/// What a call counts as that is retried until a timeout of 10 ms, inside the breaker.
///
/// The one permit of the limit inside is released after 4 ms.
async fn retried<F>(queue: usize, work: F) -> Verdict
where
    F: Fn(CallContext, ConcurrencyLimitLayer) -> Work<Result<ToolOutput, BoxError>>,
    F: Send + Sync + 'static,
{
    verdict_of(two(), |breaker| async move {
        let (limit, taken) = taken(queue);
        let handle = limit.clone();
        let tool = ScriptedTool::new(move |call| work(call.context().clone(), handle.clone()));
        let stack = ServiceBuilder::new()
            .layer(in_10_ms())
            .layer(breaker)
            .layer(RetryLayer::new(Again))
            .layer(limit)
            .service(tool);
        let release = async move {
            tokio::time::sleep(ms(4)).await;
            drop(taken);
        };
        let (expired, ()) = tokio::join!(error_of(stack, call()), release);
        assert_eq!(expired.kind(), ErrorKind::Timeout);
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn retried_call_that_expires_counts_by_its_latest_attempt() {
    // Rejected a few times, then running until the timeout.
    let runs = retried(0, |_, _| Box::pin(std::future::pending()));
    assert_eq!(runs.await, Verdict::Failure);
    // Queued, failed, and rejected from then on.
    let fails_once = retried(1, |context, limit| {
        Box::pin(async move {
            assert_eq!(context.attempt(), 1);
            limit.set_queue_capacity(0);
            let mut holder = limit.layer(ScriptedTool::pending());
            // Takes the permit as soon as it is released.
            tokio::spawn(async move {
                loop {
                    holder.call(call()).await.ok();
                    tokio::task::yield_now().await;
                }
            });
            Err("down".into())
        })
    });
    assert_eq!(fails_once.await, Verdict::Ignored);
}

#[tokio::test(start_paused = true)]
async fn retried_call_without_a_started_attempt_does_not_count() {
    for queue in [0, 1] {
        let (limit, _taken) = taken(queue);
        let expired = verdict_of_expired(|breaker| {
            ServiceBuilder::new()
                .layer(in_10_ms())
                .layer(breaker)
                .layer(RetryLayer::new(Again))
                .layer(limit)
                .service(ScriptedTool::ready())
        });
        assert_eq!(expired.await, Verdict::Ignored, "a queue of {queue}");
    }
}

#[tokio::test(start_paused = true)]
async fn slow_calls_open_it_whether_or_not_they_fail() {
    let policy = BreakerPolicy::new().with_slow_calls(ms(100), 0.5, 4);
    let policy = policy.unwrap().with_minimum_calls(4);
    let breaker = CircuitBreakerLayer::with_policy(policy);
    let tool = |time| breaker.layer(takes(time));
    assert_eq!(calls(&tool(ms(99)), 20).await, [OK; 20]);
    assert_eq!(calls(&tool(ms(100)), 2).await, [OK; 2]);
    assert_eq!(breaker.state(), BreakerState::Open);
    // A slow probe is a failure.
    advance(OPEN).await;
    assert_eq!(calls(&tool(ms(100)), 2).await, [OK, REJECTED]);
    advance(OPEN).await;
    assert_eq!(calls(&tool(ms(99)), 1).await, [OK]);
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn failure_rate_is_that_of_the_last_calls() {
    let policy = || BreakerPolicy::new().with_failure_rate(0.5, 10).unwrap();
    let flag = Arc::new(AtomicBool::new(false));
    let breaker = CircuitBreakerLayer::with_policy(policy());
    let service = breaker.layer(flaky(&flag));
    calls(&service, 1_000).await;
    flag.store(true, Ordering::SeqCst);
    assert_eq!(calls(&service, 5).await, [FAILED; 5]);
    assert_eq!(calls(&service, 1).await, [REJECTED]);
    // There is no rate below the minimum of calls, which is the window by default.
    for (policy, minimum) in [(policy(), 10), (policy().with_minimum_calls(3), 3)] {
        let service = CircuitBreakerLayer::with_policy(policy).layer(fails("down"));
        assert_eq!(calls(&service, minimum).await, vec![FAILED; minimum]);
        assert_eq!(calls(&service, 1).await, [REJECTED]);
    }
}

#[tokio::test(start_paused = true)]
async fn failure_rate_forgets_calls_older_than_its_window() {
    let policy = BreakerPolicy::new().with_failure_rate(0.5, Duration::from_secs(10));
    let policy = policy.unwrap().with_minimum_calls(4);
    let service = CircuitBreakerLayer::with_policy(policy).layer(fails("down"));
    assert_eq!(calls(&service, 3).await, [FAILED; 3]);
    advance(Duration::from_secs(10)).await;
    assert_eq!(calls(&service, 3).await, [FAILED; 3]);
    advance(Duration::from_secs(8)).await;
    assert_eq!(calls(&service, 2).await, [FAILED, REJECTED]);
}
