//! One breaker several times in the path of a call: in two layers, around a retry, and around the
//! calls that a call makes.

use std::num::NonZeroU32;

use serde_json::Value;
use tokio::time::sleep;
use toolbooth::{
    BoxError, ConcurrencyLimitLayer, Quota, RateLimitLayer, RetryPolicy, SpawnLayer, TimeoutLayer,
};
use tower::ServiceBuilder;
use tower::retry::{Policy, RetryLayer};

use super::*;

/// A half-open breaker.
async fn half_open() -> CircuitBreakerLayer {
    let breaker = CircuitBreakerLayer::new();
    breaker.trip();
    advance(OPEN).await;
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    breaker
}

/// A tool that calls the tool "child" of `inner`, and fails if that fails.
fn parent_of<S>(inner: S) -> ScriptedTool
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError> + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    ScriptedTool::new(move |call| {
        let child = call.context().child("child", Value::Null);
        let inner = inner.clone();
        async move { Ok::<_, BoxError>(inner.oneshot(child?).await?) }
    })
}

/// Case F1b. A call through two layers of one value counts once, and is one probe.
#[tokio::test(start_paused = true)]
async fn two_layers_of_one_value_count_a_call_once() {
    for keyed in [false, true] {
        let breaker = match keyed {
            false => CircuitBreakerLayer::new(),
            true => CircuitBreakerLayer::per_tool(BreakerPolicy::new()),
        };
        let fails = Arc::new(AtomicBool::new(true));
        let direct = breaker.layer(breaker.layer(flaky(&fails)));
        assert_eq!(calls(&direct, 4).await, [FAILED; 4]);
        assert_eq!(breaker.state(), BreakerState::Closed);
        // With other layers in between, one of which runs the inside on a task.
        let apart = ServiceBuilder::new()
            .layer(breaker.clone())
            .layer(SpawnLayer::new())
            .layer(ConcurrencyLimitLayer::new(1))
            .layer(breaker.clone())
            .service(flaky(&fails));
        assert_eq!(calls(&apart, 2).await, [FAILED, REJECTED]);
        advance(OPEN).await;
        assert_eq!(calls(&direct, 2).await, [FAILED, REJECTED]);
        fails.store(false, Ordering::SeqCst);
        advance(OPEN).await;
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert_eq!(calls(&apart, 1).await, [OK]);
        assert_eq!(breaker.state(), BreakerState::Closed);
    }
}

/// A dropped probe is replaced by the next call, through both layers.
#[tokio::test(start_paused = true)]
async fn probe_through_two_layers_is_lost_in_none() {
    let breaker = half_open().await;
    let mut service = breaker.layer(breaker.layer(ScriptedTool::pending()));
    for _ in 0..3 {
        let mut probe = task::spawn(service.call(call()));
        assert_pending!(probe.poll());
        assert_open(&mut service).await;
        drop(probe);
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
    }
}

/// The outer layer admitted the call before the outage, and the inner one afterwards.
#[tokio::test(start_paused = true)]
async fn call_that_waited_through_an_outage_is_the_probe_of_the_inner_layer() {
    let breaker = CircuitBreakerLayer::new();
    let limit = ConcurrencyLimitLayer::new(1);
    let mut holder = limit.layer(ScriptedTool::pending());
    let taken = holder.call(call());
    let mut service = ServiceBuilder::new()
        .layer(breaker.clone())
        .layer(limit)
        .layer(breaker.clone())
        .service(ScriptedTool::ready());
    let mut waits = task::spawn(service.call(call()));
    assert_pending!(waits.poll());
    breaker.trip();
    advance(OPEN).await;
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    drop(taken);
    assert!(waits.await.is_ok());
    assert_eq!(breaker.state(), BreakerState::Closed);
}

/// Makes up to three attempts.
#[derive(Clone)]
struct Thrice(u32);

impl<T> Policy<ToolCall, T, ToolError> for Thrice {
    type Future = std::future::Ready<()>;

    fn retry(
        &mut self,
        _: &mut ToolCall,
        result: &mut Result<T, ToolError>,
    ) -> Option<Self::Future> {
        self.0 += 1;
        (self.0 < 3 && result.is_err()).then(|| std::future::ready(()))
    }

    fn clone_request(&mut self, call: &ToolCall) -> Option<ToolCall> {
        Some(call.clone())
    }
}

#[tokio::test(start_paused = true)]
async fn layers_around_and_inside_of_a_retry_count_each_attempt_once() {
    let breaker = CircuitBreakerLayer::new();
    let stack = |tool: ScriptedTool| {
        ServiceBuilder::new()
            .layer(breaker.clone())
            .layer(RetryLayer::new(Thrice(0)))
            .layer(breaker.clone())
            .service(tool)
    };
    let tool = fails("down");
    let failing = stack(tool.handle());
    assert_eq!(calls(&failing, 1).await, [FAILED]);
    assert_eq!(breaker.state(), BreakerState::Closed);
    // The first attempt of a call counts when the call ends: here the third one opens the breaker.
    assert_eq!(calls(&failing, 2).await, [FAILED, REJECTED]);
    assert_eq!(tool.log().calls.len(), 6);

    // Attempts of a probe are inside of it.
    advance(OPEN).await;
    let attempts = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let third = ScriptedTool::new(move |_| {
        let attempt = attempts.fetch_add(1, Ordering::SeqCst);
        async move {
            match attempt {
                2 => Ok(ToolOutput::text("up")),
                _ => Err("down".into()),
            }
        }
    });
    assert_eq!(calls(&stack(third), 1).await, [OK]);
    assert_eq!(breaker.state(), BreakerState::Closed);
}

/// Case F1d. A child of the probe is no probe of its own.
#[tokio::test(start_paused = true)]
async fn child_of_a_probe_passes_and_is_not_counted() {
    let breaker = half_open().await;
    let grandchild = breaker.layer(ScriptedTool::ready());
    let child = breaker.layer(parent_of(grandchild));
    let service = breaker.layer(parent_of(child));
    assert_eq!(calls(&service, 1).await, [OK]);
    assert_eq!(breaker.state(), BreakerState::Closed);

    // The probe decides, whatever its child does.
    let breaker = half_open().await;
    let failing = breaker.layer(fails("down"));
    let handles = ScriptedTool::new({
        let failing = failing.clone();
        move |call| {
            let (child, failing) = (call.context().child("child", Value::Null), failing.clone());
            async move {
                let failed = error_of(failing, child?).await;
                Ok(ToolOutput::text(failed.to_string()))
            }
        }
    });
    assert_eq!(calls(&breaker.layer(handles), 1).await, [OK]);
    assert_eq!(breaker.state(), BreakerState::Closed);
    let breaker = half_open().await;
    let service = breaker.layer(parent_of(breaker.layer(fails("down"))));
    assert_eq!(calls(&service, 2).await, [FAILED, REJECTED]);
}

#[tokio::test(start_paused = true)]
async fn children_count_on_their_own_while_the_breaker_is_closed() {
    let breaker = CircuitBreakerLayer::with_policy(two());
    let failing = breaker.layer(fails("down"));
    let handles = ScriptedTool::new(move |call| {
        let (context, failing) = (call.context().clone(), failing.clone());
        async move {
            let mut kinds = Vec::new();
            for _ in 0..3 {
                let child = context.child("child", Value::Null)?;
                kinds.push(error_of(failing.clone(), child).await.kind().as_str());
            }
            // While it is open, children are rejected.
            Ok(ToolOutput::text(kinds.join(" ")))
        }
    });
    let kinds = support::text_of(breaker.layer(handles), call()).await;
    assert_eq!(kinds, "tool_error tool_error circuit_open");
    assert_eq!(breaker.state(), BreakerState::Open);
}

/// A call from before the outage is no probe, so its child may be one.
#[tokio::test(start_paused = true)]
async fn child_of_a_call_from_before_the_outage_is_a_probe() {
    let breaker = CircuitBreakerLayer::new();
    let handle = breaker.clone();
    let outage = ScriptedTool::new(move |call| {
        let (context, breaker) = (call.context().clone(), handle.clone());
        async move {
            breaker.trip();
            advance(OPEN).await;
            let child = context.child("child", Value::Null)?;
            let mut probe = breaker.layer(ScriptedTool::pending());
            let mut probe = task::spawn(probe.call(child));
            assert_pending!(probe.poll());
            let second = context.child("child", Value::Null)?;
            let second = error_of(breaker.layer(ScriptedTool::ready()), second).await;
            Ok(ToolOutput::text(second.kind().as_str()))
        }
    });
    let second = support::text_of(breaker.layer(outage), call()).await;
    assert_eq!(second, "circuit_open");
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
}

/// Another key is another breaker.
#[tokio::test(start_paused = true)]
async fn child_with_another_key_needs_its_own_breaker() {
    let breaker = CircuitBreakerLayer::per_tool(BreakerPolicy::new());
    let service = breaker.layer(parent_of(breaker.layer(ScriptedTool::ready())));
    breaker.breaker_for("tool").expect("there is room").trip();
    advance(OPEN).await;
    let child = breaker.breaker_for("child").expect("there is room");
    child.trip();
    assert_eq!(calls(&service, 1).await, [FAILED]);
    assert_eq!(child.state(), BreakerState::Open);
    advance(OPEN).await;
    assert_eq!(calls(&service, 1).await, [OK]);
    assert_eq!(child.state(), BreakerState::Closed);
    assert_eq!(breaker.state(), BreakerState::Closed);
}

/// A breaker that opens at the first failure, with a predicate that selects every result.
fn opens_at_once() -> CircuitBreakerLayer {
    let policy = BreakerPolicy::new().with_consecutive_failures(1);
    let policy = policy.expect("1 is not 0").with_failures(|_| true);
    CircuitBreakerLayer::with_policy(policy.with_cool_down(Duration::from_secs(60)))
}

/// The first attempt starts and fails. A limit inside of the retry rejects the second one, so the
/// result of the call shows nothing about the tool, although the tool had started.
#[tokio::test(start_paused = true)]
async fn later_attempt_that_an_inner_limit_rejects_does_not_count() {
    let breaker = opens_at_once();
    let hourly = RateLimitLayer::new(Quota::per_hour(NonZeroU32::MIN)).reject();
    let stack = ServiceBuilder::new()
        .layer(breaker.clone())
        .layer(RetryLayer::new(RetryPolicy::new(2)))
        .layer(hourly)
        .service(fails(ToolError::failed("down").with_retryable(true)));
    let error = error_of(stack, call().with_idempotent(true)).await;
    assert_eq!(
        (error.kind(), error.started()),
        (ErrorKind::RateLimited, true)
    );
    assert_eq!(breaker.state(), BreakerState::Closed);
}

/// As above, for a second attempt that times out in a queue.
#[tokio::test(start_paused = true)]
async fn later_attempt_that_times_out_in_a_queue_does_not_count() {
    let (breaker, limit) = (opens_at_once(), ConcurrencyLimitLayer::new(1));
    let stack = ServiceBuilder::new()
        .layer(breaker.clone())
        .layer(RetryLayer::new(RetryPolicy::new(2)))
        .layer(TimeoutLayer::new(ms(50)))
        .layer(limit.clone())
        .service(ScriptedTool::new(|_| async {
            sleep(ms(10)).await;
            Err(ToolError::failed("down").with_retryable(true).into())
        }));
    let calls = tokio::spawn(error_of(stack, call().with_idempotent(true)));
    sleep(ms(1)).await;
    // It acquires the permit that the first attempt releases.
    let mut holder = task::spawn(limit.layer(ScriptedTool::pending()).oneshot(call()));
    assert_pending!(holder.poll());
    sleep(ms(10)).await;
    assert_pending!(holder.poll());
    let error = calls.await.expect("it does not panic");
    assert_eq!((error.kind(), error.started()), (ErrorKind::Timeout, true));
    assert_eq!(error.queue(), Some("concurrency"));
    assert_eq!(breaker.state(), BreakerState::Closed);
}

/// The tool of the first attempt fails, and takes the permit away from the second one.
fn fails_and_blocks(limit: &ConcurrencyLimitLayer) -> ScriptedTool {
    let other = limit.layer(ScriptedTool::pending());
    ScriptedTool::new(move |_| {
        // It is first in the queue when the attempt ends.
        let mut holder = Box::pin(other.clone().oneshot(call()));
        async move {
            assert_pending!(task::spawn(&mut holder).poll());
            tokio::spawn(holder);
            sleep(ms(10)).await;
            Err(ToolError::failed("down").with_retryable(true).into())
        }
    })
}

/// The same call counts the same on both sides of the timeout.
#[tokio::test(start_paused = true)]
async fn call_that_expires_while_its_latest_attempt_is_queued_does_not_count() {
    for breaker_is_outside in [true, false] {
        let (breaker, limit) = (opens_at_once(), ConcurrencyLimitLayer::new(1));
        let attempts = ServiceBuilder::new()
            .layer(RetryLayer::new(RetryPolicy::new(2)))
            .layer(limit.clone())
            .service(fails_and_blocks(&limit));
        let timeout = TimeoutLayer::new(ms(500));
        let error = match breaker_is_outside {
            true => error_of(breaker.layer(timeout.layer(attempts)), call()).await,
            false => error_of(timeout.layer(breaker.layer(attempts)), call()).await,
        };
        assert_eq!((error.kind(), error.started()), (ErrorKind::Timeout, true));
        assert_eq!(error.queue(), Some("concurrency"));
        assert_eq!(
            breaker.state(),
            BreakerState::Closed,
            "{breaker_is_outside}"
        );
    }
}

/// A call that expires between two attempts counts by the latest one.
#[tokio::test(start_paused = true)]
async fn call_that_expires_before_its_next_attempt_counts_if_the_latest_one_had_started() {
    let hourly = Quota::per_hour(NonZeroU32::MIN);
    for (quota, backoff, state) in [
        // Rejected for an hour after 40 ms at most.
        (Some(hourly), ms(40), BreakerState::Closed),
        (None, ms(60_000), BreakerState::Open),
    ] {
        for breaker_is_outside in [true, false] {
            let breaker = opens_at_once();
            let policy = RetryPolicy::new(9).with_max_retry_after(Duration::MAX);
            let policy = policy.with_backoff(backoff, backoff).with_seed(1);
            let attempts = ServiceBuilder::new()
                .layer(RetryLayer::new(policy))
                .layer(RateLimitLayer::new(quota).reject())
                .service(fails(ToolError::failed("down").with_retryable(true)));
            // A limit on the whole time would end the retries before the wait.
            let idle = TimeoutLayer::unlimited().with_idle(ms(50));
            let error = match breaker_is_outside {
                true => error_of(breaker.layer(idle.layer(attempts)), call()).await,
                false => error_of(idle.layer(breaker.layer(attempts)), call()).await,
            };
            assert_eq!(error.kind(), ErrorKind::Timeout);
            assert_eq!(breaker.state(), state, "{breaker_is_outside}");
        }
    }
}
