//! The cool-down: a tool that rejects calls opens its breaker for the time that it names.

use std::num::NonZeroU32;

use toolbooth::{Quota, RateLimitLayer};

use super::counts::{Verdict, verdict_of};
use super::*;

const MAX: Duration = Duration::from_secs(60);

/// A policy that opens at the second consecutive failure, and cools down.
fn cools() -> BreakerPolicy {
    two().with_cool_down(MAX)
}

/// A tool that rejects calls while `rejects` is set, for this time.
fn busy(rejects: &Arc<AtomicBool>, time: Duration) -> ScriptedTool {
    let rejects = Arc::clone(rejects);
    ScriptedTool::new(move |_| {
        let rejects = rejects.load(Ordering::SeqCst);
        async move {
            match rejects {
                true => Err(ToolError::rate_limited(time).into()),
                false => Ok(ToolOutput::text("up")),
            }
        }
    })
}

const LIMITED: Option<ErrorKind> = Some(ErrorKind::RateLimited);

#[tokio::test(start_paused = true)]
async fn tool_that_rejects_a_call_opens_its_breaker_for_that_time() {
    let rejects = Arc::new(AtomicBool::new(true));
    let seven = Duration::from_secs(7);
    let tool = busy(&rejects, seven);
    let breaker = CircuitBreakerLayer::with_policy(cools());
    let changes = Recorder::new();
    let recorder = changes.clone();
    breaker.on_state_change(move |change| recorder.record((change.to, change.open_for)));
    let mut service = breaker.layer(tool.handle());
    assert_eq!(calls(&service, 2).await, [LIMITED, REJECTED]);
    assert_eq!(assert_open(&mut service).await.retry_after(), Some(seven));
    advance(seven.saturating_sub(Duration::from_nanos(1))).await;
    assert_open(&mut service).await;
    advance(Duration::from_nanos(1)).await;
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    // The probe is rejected, too.
    assert_eq!(calls(&service, 2).await, [LIMITED, REJECTED]);
    advance(seven).await;
    rejects.store(false, Ordering::SeqCst);
    assert_eq!(calls(&service, 1).await, [OK]);
    assert_eq!(tool.log().calls.len(), 3);
    let expected = [
        (BreakerState::Open, Some(seven)),
        (BreakerState::HalfOpen, None),
        (BreakerState::Open, Some(seven)),
        (BreakerState::HalfOpen, None),
        (BreakerState::Closed, None),
    ];
    assert_eq!(changes.values(), expected);
}

#[tokio::test(start_paused = true)]
async fn hint_is_bounded_by_the_maximum() {
    for (hint, expected) in [
        (MAX, MAX),
        (Duration::from_secs(86_400), MAX),
        (Duration::MAX, MAX),
        (ms(1), ms(1)),
    ] {
        let breaker = CircuitBreakerLayer::with_policy(cools());
        let mut service = breaker.layer(fails(ToolError::rate_limited(hint)));
        assert_eq!(calls(&service, 1).await, [LIMITED]);
        let rejected = assert_open(&mut service).await;
        assert_eq!(rejected.retry_after(), Some(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn cool_down_is_no_failure() {
    // The predicate is not called, and the open time does not grow.
    let policy = cools().with_open_growth(2.0, Duration::from_secs(3_600));
    let policy = policy.unwrap().with_failures(|result| {
        let kind = result.error().map(ToolError::kind);
        assert_eq!(kind, Some(ErrorKind::Tool));
        true
    });
    let breaker = CircuitBreakerLayer::with_policy(policy);
    let second = Duration::from_secs(1);
    let limited = breaker.layer(fails(ToolError::rate_limited(second)));
    for _ in 0..5 {
        assert_eq!(calls(&limited, 1).await, [LIMITED]);
        advance(second).await;
    }
    let mut failing = breaker.layer(fails("down"));
    assert_eq!(calls(&failing, 1).await, [FAILED]);
    assert_eq!(assert_open(&mut failing).await.retry_after(), Some(OPEN));
}

#[tokio::test(start_paused = true)]
async fn without_a_maximum_or_a_hint_there_is_no_cool_down() {
    for (policy, hint) in [
        (two(), MAX),
        (two().with_cool_down(Duration::ZERO), MAX),
        (cools().with_cool_down(None), MAX),
        (cools(), Duration::ZERO),
    ] {
        let limited = verdict_of(policy, |breaker| async move {
            let limited = breaker.layer(fails(ToolError::rate_limited(hint)));
            error_of(limited, call()).await;
        });
        assert_eq!(limited.await, Verdict::Ignored);
    }
}

/// The rejection of an inner layer is not the tool's.
#[tokio::test(start_paused = true)]
async fn inner_limit_that_rejects_a_call_causes_no_cool_down() {
    let breaker = CircuitBreakerLayer::with_policy(cools());
    let limit = RateLimitLayer::new(Quota::per_second(NonZeroU32::MIN)).with_queue_capacity(0);
    let service = breaker.layer(limit.layer(ScriptedTool::ready()));
    assert_eq!(calls(&service, 3).await[0], OK);
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[cfg(feature = "http")]
mod http {
    use ::http::{Request, Response};
    use bytes::Bytes;
    use http_body_util::{BodyExt, Full};
    use tower::service_fn;

    use super::*;

    /// Makes a call to a service that returns this status and time, and reads the body if so set.
    async fn respond(breaker: &CircuitBreakerLayer, status: u16, time: &'static str, reads: bool) {
        let service = breaker.layer(service_fn(move |_: Request<()>| {
            let response = Response::builder()
                .status(status)
                .header("retry-after", time);
            std::future::ready(response.body(Full::new(Bytes::from("busy"))))
        }));
        let response = service.oneshot(Request::new(())).await.expect("a response");
        if reads {
            response.into_body().collect().await.expect("a body");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn service_that_rejects_a_call_opens_its_breaker_for_that_time() {
        for status in [429, 503] {
            for reads in [true, false] {
                for (time, expected) in [
                    ("7", Duration::from_secs(7)),
                    ("86400", MAX),
                    ("100000000000000000000", MAX),
                ] {
                    let breaker = CircuitBreakerLayer::with_policy(cools());
                    respond(&breaker, status, time, reads).await;
                    let mut service = breaker.layer(ScriptedTool::ready());
                    let rejected = assert_open(&mut service).await;
                    assert_eq!(rejected.retry_after(), Some(expected), "{status} {time}");
                    advance(expected).await;
                    assert_eq!(calls(&service, 1).await, [OK]);
                    assert_eq!(breaker.state(), BreakerState::Closed);
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn other_responses_count_by_their_status() {
        for (status, time, expected) in [
            (429, "0", Verdict::Success),
            (429, "soon", Verdict::Success),
            (429, "Wed, 21 Oct 2026 07:28:00 GMT", Verdict::Success),
            (503, "0", Verdict::Failure),
            (503, "Wed, 21 Oct 2026 07:28:00 GMT", Verdict::Failure),
            (500, "7", Verdict::Failure),
            (301, "7", Verdict::Success),
        ] {
            let verdict = verdict_of(cools(), |breaker| async move {
                respond(&breaker, status, time, true).await;
            });
            assert_eq!(verdict.await, expected, "{status} {time}");
        }
        // Without a cool-down, the hint is not used.
        for (status, expected) in [(429, Verdict::Success), (503, Verdict::Failure)] {
            let verdict = verdict_of(two(), |breaker| async move {
                respond(&breaker, status, "7", true).await;
            });
            assert_eq!(verdict.await, expected, "{status}");
        }
    }
}
