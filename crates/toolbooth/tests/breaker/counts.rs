//! What counts as a failure, what as a success, and what as nothing: once for each call.

use super::*;
use std::num::NonZeroU32;
use support::{Count, next};
use tokio_test::assert_pending;
use toolbooth::breaker::Failure;
use toolbooth::{
    BoxError, CallContext, CancelReason, ConcurrencyLimitLayer, Quota, RateLimitLayer,
    TimeoutLayer, ToolError,
};
use tower::ServiceBuilder;
use tower::retry::{Policy, RetryLayer};

/// Whether the second of these calls opens a breaker: it counts each as a failure. Of a success it would begin anew.
async fn counts<F: Future<Output = ()>>(
    policy: BreakerPolicy,
    mut twice: impl FnMut(CircuitBreakerLayer) -> F,
) -> Verdict {
    let breaker = CircuitBreakerLayer::with_policy(policy);
    // One failure, this call, and another failure: open if it counts for nothing or as one.
    let mut fail = breaker.layer(flaky(&Arc::new(AtomicBool::new(true))));
    error(fail.call(call()).await);
    twice(breaker.clone()).await;
    if breaker.state() == BreakerState::Open {
        return Verdict::Failure;
    }
    error(fail.call(call()).await);
    match breaker.state() {
        BreakerState::Open => Verdict::Nothing,
        _ => Verdict::Success,
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Failure,
    Nothing,
    Success,
}

/// What a call counts as that ends so at its tool.
async fn ends<F, Fut>(policy: BreakerPolicy, work: F) -> Verdict
where
    F: Fn() -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<ToolOutput, BoxError>> + Send + 'static,
{
    counts(policy, |breaker| {
        let work = work.clone();
        let probe = Probe::new(move |_| work());
        async move {
            let answer = breaker.layer(probe).oneshot(call()).await;
            if let Ok(answer) = answer {
                answer.collect().await.ok();
            }
        }
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn answers_and_errors_count_by_what_they_are() {
    let answer = ends(two(), async || Ok(ToolOutput::text("up"))).await;
    assert_eq!(answer, Verdict::Success);
    let error = ends(two(), async || Err("down".into())).await;
    assert_eq!(error, Verdict::Failure);
    let is_error = ends(two(), async || Ok(ToolOutput::error("down"))).await;
    assert_eq!(is_error, Verdict::Failure);
    let foreign_timeout = ends(two(), async || {
        Err(tower::timeout::error::Elapsed::new().into())
    })
    .await;
    assert_eq!(foreign_timeout, Verdict::Failure);
    let panicked = ends(two(), async || Err(ToolError::panicked("oh").into())).await;
    assert_eq!(panicked, Verdict::Failure);
    for nothing in [
        ToolError::rate_limited(ms(1)),
        ToolError::overloaded(toolbooth::OverloadReason::Closed),
        ToolError::circuit_open(ms(1)),
        ToolError::unknown_tool("serach"),
        ToolError::invalid_arguments(".", "no"),
        ToolError::cancelled(CancelReason::CallerGone),
        ToolError::cancelled(CancelReason::Shutdown),
    ] {
        let kind = nothing.kind();
        let verdict = ends(two(), move || {
            let error = nothing.clone();
            async { Err(error.into()) }
        });
        assert_eq!(verdict.await, Verdict::Nothing, "{kind}");
    }
    let cut = ends(two(), async || {
        Err(ToolError::cancelled(CancelReason::Timeout).into())
    })
    .await;
    assert_eq!(cut, Verdict::Failure);
}

#[tokio::test(start_paused = true)]
async fn what_a_predicate_does_not_count_is_a_success() {
    let well = |failure: Failure<'_>| match failure {
        Failure::Response(answer) => answer
            .as_contents()
            .is_none_or(|contents| contents[0] != "no such file".into()),
        Failure::Error(error) => {
            let source = std::error::Error::source(error);
            source.is_none_or(|source| source.to_string() != "not found")
        }
        _ => true,
    };
    let policy = || two().with_failures(well);
    let answer = |text| ends(policy(), move || async move { Ok(ToolOutput::error(text)) });
    assert_eq!(answer("no such file").await, Verdict::Success);
    assert_eq!(answer("disk full").await, Verdict::Failure);
    let error = |text: &'static str| ends(policy(), move || async move { Err(text.into()) });
    assert_eq!(error("not found").await, Verdict::Success);
    assert_eq!(error("disk full").await, Verdict::Failure);
    // It is not asked of what is no failure of the tool's.
    let asked = |verdict: bool| {
        two().with_failures(move |failure| match failure {
            Failure::Error(error) => error.kind() == ErrorKind::Tool || verdict,
            _ => verdict,
        })
    };
    let refused = async || Err(ToolError::rate_limited(ms(1)).into());
    assert_eq!(ends(asked(true), refused).await, Verdict::Nothing);
    assert_eq!(ends(asked(false), refused).await, Verdict::Nothing);
    let panicking = two().with_failures(|_| panic!("in the predicate"));
    assert_eq!(
        ends(panicking, async || Err("down".into())).await,
        Verdict::Failure
    );
}

#[tokio::test(start_paused = true)]
async fn a_streamed_answer_counts_at_its_end() {
    let dropped = Count::default();
    let stream = |ends: Option<&'static str>| {
        let dropped = dropped.clone();
        move || {
            let pieces: Vec<Result<toolbooth::Content, BoxError>> = [Ok("a".into())]
                .into_iter()
                .chain(ends.map(|error| Err(error.into())))
                .collect();
            let output = support::tracked(&dropped, futures_util::stream::iter(pieces));
            async { Ok(output) }
        }
    };
    assert_eq!(ends(two(), stream(None)).await, Verdict::Success);
    assert_eq!(ends(two(), stream(Some("down"))).await, Verdict::Failure);
    // The head alone is no success: a caller who leaves then says nothing.
    let left = counts(two(), |breaker| {
        let work = stream(None);
        async move {
            let probe = Probe::new(move |_| work());
            let mut stream = breaker
                .layer(probe)
                .oneshot(call())
                .await
                .unwrap()
                .into_stream();
            next(&mut stream).await.unwrap().unwrap();
        }
    });
    assert_eq!(left.await, Verdict::Nothing);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_counts_where_it_is_to() {
    let leaves = |policy| {
        counts(policy, |breaker| async move {
            let mut service = breaker.layer(Probe::stuck());
            assert_pending!(tokio_test::task::spawn(service.call(call())).poll());
        })
    };
    assert_eq!(leaves(two()).await, Verdict::Nothing);
    assert_eq!(leaves(two().with_drops(true)).await, Verdict::Failure);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_counts_outside_and_inside() {
    let outside = counts(two(), |breaker| async move {
        let stack = ServiceBuilder::new()
            .layer(TimeoutLayer::new(ms(10)))
            .layer(breaker)
            .service(Probe::stuck());
        assert_eq!(
            error(stack.oneshot(call()).await).kind(),
            ErrorKind::Timeout
        );
    });
    assert_eq!(outside.await, Verdict::Failure);
    let inside = counts(two(), |breaker| async move {
        let stack = ServiceBuilder::new()
            .layer(breaker)
            .layer(TimeoutLayer::new(ms(10)))
            .service(Probe::stuck());
        assert_eq!(
            error(stack.oneshot(call()).await).kind(),
            ErrorKind::Timeout
        );
    });
    assert_eq!(inside.await, Verdict::Failure);
    // The wait of a service that is none of ours is the tool's.
    let unready = counts(two(), |breaker| async move {
        let stack = ServiceBuilder::new()
            .layer(TimeoutLayer::new(ms(10)))
            .layer(breaker)
            .service(Probe::stuck().with(Readiness::Pending));
        assert_eq!(
            error(stack.oneshot(call()).await).kind(),
            ErrorKind::Timeout
        );
    });
    assert_eq!(unready.await, Verdict::Failure);
    // And the rest of a streamed answer is.
    let streamed = counts(two(), |breaker| async move {
        let dropped = Count::default();
        let probe = Probe::new(move |_| {
            let stream = support::ticking(&dropped, ms(20), ["a", "b"]);
            async { Ok(stream) }
        });
        let stack = ServiceBuilder::new()
            .layer(TimeoutLayer::new(ms(10)))
            .layer(breaker)
            .service(probe);
        let answer = stack.oneshot(call()).await.unwrap().collect().await;
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Timeout);
    });
    assert_eq!(streamed.await, Verdict::Failure);
}

fn hourly() -> RateLimitLayer {
    RateLimitLayer::new(Quota::per_hour(NonZeroU32::MIN))
}

/// One call that waits in line for an hour, and is cut after 10 ms: by a timeout on either side of the breaker.
macro_rules! cut_in_line {
    ($limits:expr) => {{
        let outside = counts(two(), |breaker| async move {
            let (limits, _taken) = $limits;
            let stack = ServiceBuilder::new()
                .layer(TimeoutLayer::new(ms(10)))
                .layer(breaker)
                .layer(limits)
                .service(Probe::ready());
            error(stack.oneshot(call()).await);
        });
        let inside = counts(two(), |breaker| async move {
            let (limits, _taken) = $limits;
            let stack = ServiceBuilder::new()
                .layer(breaker)
                .layer(TimeoutLayer::new(ms(10)))
                .layer(limits)
                .service(Probe::ready());
            error(stack.oneshot(call()).await);
        });
        (outside.await, inside.await)
    }};
}

/// A concurrency limit whose one permit is taken while the second value lives.
fn taken() -> (ConcurrencyLimitLayer, impl Sized) {
    let limit = ConcurrencyLimitLayer::new(1);
    let mut holder = Box::pin(limit.layer(Probe::stuck()).oneshot(call()));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(holder.as_mut().poll(&mut cx).is_pending());
    assert_eq!(limit.available(), 0);
    (limit, holder)
}

#[tokio::test(start_paused = true)]
async fn time_in_our_own_lines_alone_does_not_count() {
    let nothing = (Verdict::Nothing, Verdict::Nothing);
    assert_eq!(cut_in_line!(taken()), nothing);
    // A line that a call gets to only after it was let through another one.
    let two_lines = || {
        let (first, taken) = taken();
        let free = ConcurrencyLimitLayer::new(1);
        (tower::layer::util::Stack::new(first, free), taken)
    };
    assert_eq!(cut_in_line!(two_lines()), nothing);
    // A refusal by the deadline.
    let rate = || {
        let rate = hourly();
        drop(rate.layer(Probe::ready()).oneshot(call()));
        let mut first = rate.layer(Probe::ready());
        drop(first.call(call()));
        (rate, ())
    };
    assert_eq!(cut_in_line!(rate()), nothing);
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_was_started_after_a_wait_counts() {
    let started = counts(two(), |breaker| async move {
        let (limit, taken) = taken();
        let stack = ServiceBuilder::new()
            .layer(TimeoutLayer::new(ms(10)))
            .layer(breaker)
            .layer(limit)
            .service(Probe::stuck());
        let frees = async move {
            tokio::time::sleep(ms(5)).await;
            drop(taken);
        };
        let (answer, ()) = tokio::join!(stack.oneshot(call()), frees);
        assert_eq!(error(answer).kind(), ErrorKind::Timeout);
    });
    assert_eq!(started.await, Verdict::Failure);
}

#[derive(Clone)]
struct Again;

impl<T> Policy<ToolCall, T, ToolError> for Again {
    type Future = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

    fn retry(
        &mut self,
        _: &mut ToolCall,
        result: &mut Result<T, ToolError>,
    ) -> Option<Self::Future> {
        result
            .is_err()
            .then(|| Box::pin(tokio::time::sleep(ms(1))) as Self::Future)
    }

    fn clone_request(&mut self, call: &ToolCall) -> Option<ToolCall> {
        Some(call.clone())
    }
}

/// What a call counts as that is retried, under a timeout of 10 ms, through a limit of one call whose line holds so many.
async fn retried(capacity: usize, work: fn(CallContext, ConcurrencyLimitLayer) -> Work) -> Verdict {
    counts(two(), |breaker| async move {
        let (limit, taken) = taken();
        limit.set_queue_capacity(capacity);
        let (inside, taken) = (limit.clone(), Arc::new(std::sync::Mutex::new(Some(taken))));
        let frees = Arc::clone(&taken);
        let stack = ServiceBuilder::new()
            .layer(TimeoutLayer::new(ms(10)))
            .layer(breaker)
            .layer(RetryLayer::new(Again))
            .layer(limit)
            .service(Probe::new(move |call| {
                work(call.context().clone(), inside.clone())
            }));
        let freed = async move {
            tokio::time::sleep(ms(4)).await;
            drop(frees.lock().expect("no panic under it").take());
        };
        let (answer, ()) = tokio::join!(stack.oneshot(call()), freed);
        assert_eq!(error(answer).kind(), ErrorKind::Timeout);
        drop(taken);
    })
    .await
}

type Work = std::pin::Pin<Box<dyn Future<Output = Result<ToolOutput, BoxError>> + Send>>;

#[tokio::test(start_paused = true)]
async fn of_a_call_that_is_retried_one_attempt_that_got_through_is_enough() {
    // Refused a few times, then it runs until the time is up.
    assert_eq!(
        retried(0, |_, _| Box::pin(std::future::pending())).await,
        Verdict::Failure
    );
    // In line, then it fails, and after that it is always refused: the tool failed.
    let fails_once = |context: CallContext, limit: ConcurrencyLimitLayer| -> Work {
        Box::pin(async move {
            assert_eq!(context.attempt(), 1);
            limit.set_queue_capacity(0);
            let mut holder = limit.layer(Probe::stuck());
            // Takes the permit as soon as it is given back.
            tokio::spawn(async move {
                loop {
                    holder.call(call()).await.ok();
                    tokio::task::yield_now().await;
                }
            });
            Err("down".into())
        })
    };
    assert_eq!(retried(1, fails_once).await, Verdict::Failure);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_retried_and_never_gets_through_does_not_count() {
    for capacity in [0, 1] {
        let refused = counts(two(), |breaker| async move {
            let (limit, _taken) = taken();
            limit.set_queue_capacity(capacity);
            let stack = ServiceBuilder::new()
                .layer(TimeoutLayer::new(ms(10)))
                .layer(breaker)
                .layer(RetryLayer::new(Again))
                .layer(limit)
                .service(Probe::ready());
            assert_eq!(
                error(stack.oneshot(call()).await).kind(),
                ErrorKind::Timeout
            );
        });
        assert_eq!(refused.await, Verdict::Nothing, "{capacity} in line");
    }
}

#[tokio::test(start_paused = true)]
async fn slow_calls_open_it_whether_or_not_they_fail() {
    let policy = BreakerPolicy::new()
        .with_slow_calls(ms(100), 0.5, 4)
        .unwrap()
        .with_minimum_calls(4);
    let breaker = CircuitBreakerLayer::with_policy(policy);
    let takes = |time| {
        let probe = Probe::new(move |_| async move {
            tokio::time::sleep(time).await;
            Ok(ToolOutput::text("up"))
        });
        breaker.layer(probe)
    };
    assert_eq!(calls(&takes(ms(99)), 20).await, [OK; 20]);
    assert_eq!(calls(&takes(ms(100)), 2).await, [OK; 2]);
    assert_eq!(breaker.state(), BreakerState::Open);
    // A slow probe is a failure.
    tokio::time::advance(OPEN).await;
    assert_eq!(calls(&takes(ms(100)), 2).await, [OK, REFUSED]);
    tokio::time::advance(OPEN).await;
    assert_eq!(calls(&takes(ms(99)), 1).await, [OK]);
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn the_window_of_a_rate_slides() {
    let policy = || BreakerPolicy::new().with_failure_rate(0.5, 10).unwrap();
    let fails = Arc::new(AtomicBool::new(false));
    let breaker = CircuitBreakerLayer::with_policy(policy());
    let service = breaker.layer(flaky(&fails));
    calls(&service, 1_000).await;
    fails.store(true, Ordering::SeqCst);
    assert_eq!(
        calls(&service, 6).await,
        [FAILED, FAILED, FAILED, FAILED, FAILED, REFUSED]
    );
    // No rate is over fewer calls than the minimum, or than there are in the window.
    let fresh = CircuitBreakerLayer::with_policy(policy());
    assert_eq!(
        calls(&fresh.layer(flaky(&fails)), 11).await[9..],
        [FAILED, REFUSED]
    );
    let fresh = CircuitBreakerLayer::with_policy(policy().with_minimum_calls(3));
    assert_eq!(
        calls(&fresh.layer(flaky(&fails)), 4).await[2..],
        [FAILED, REFUSED]
    );
}

#[tokio::test(start_paused = true)]
async fn failures_that_lie_a_window_of_time_back_are_forgotten() {
    let policy = BreakerPolicy::new()
        .with_failure_rate(0.5, Duration::from_secs(10))
        .unwrap()
        .with_minimum_calls(4);
    let fails = Arc::new(AtomicBool::new(true));
    let breaker = CircuitBreakerLayer::with_policy(policy);
    let service = breaker.layer(flaky(&fails));
    assert_eq!(calls(&service, 3).await, [FAILED; 3]);
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(calls(&service, 3).await, [FAILED; 3]);
    tokio::time::advance(Duration::from_secs(8)).await;
    assert_eq!(calls(&service, 2).await, [FAILED, REFUSED]);
}
