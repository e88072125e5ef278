//! `CircuitBreakerLayer`: when it opens, what it rejects, and which calls it counts.

#[path = "../support/mod.rs"]
mod support;

mod cool_down;
mod counts;
mod events;
mod handles;
#[cfg(feature = "http")]
mod http;
mod keys;
mod nested;
mod probes;
mod responses;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::laws::every_layer;
use support::{
    Outcomes, Readiness, Recorder, ScriptedTool, call, error, error_of, fails, mock, ms,
};
use tokio::time::advance;
use tokio_test::{assert_pending, task};
use toolbooth::breaker::{BreakerState, CircuitBreaker};
use toolbooth::{
    BreakerPolicy, CircuitBreakerLayer, ErrorKind, Outcome, ToolCall, ToolError, ToolOutput,
};
use tower::{Layer, Service, ServiceExt};

every_layer!(CircuitBreakerLayer::new());

/// The default open time.
const OPEN: Duration = Duration::from_secs(30);

/// A tool that fails while `fails` is set.
fn flaky(fails: &Arc<AtomicBool>) -> ScriptedTool {
    let fails = Arc::clone(fails);
    ScriptedTool::new(move |_| {
        let fails = fails.load(Ordering::SeqCst);
        async move {
            match fails {
                true => Err("down".into()),
                false => Ok(ToolOutput::text("up")),
            }
        }
    })
}

/// A policy that opens at the second consecutive failure.
fn two() -> BreakerPolicy {
    let policy = BreakerPolicy::new().with_consecutive_failures(2);
    policy.expect("2 is not 0")
}

/// The errors of these calls, made one after the other.
async fn kinds_of<S>(
    service: &S,
    calls: impl IntoIterator<Item = ToolCall>,
) -> Vec<Option<ErrorKind>>
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError> + Clone,
{
    let mut kinds = Vec::new();
    for call in calls {
        let response = service.clone().oneshot(call).await;
        kinds.push(response.err().map(|error| error.kind()));
    }
    kinds
}

/// The errors of `n` calls, made one after the other.
async fn calls<S>(service: &S, n: usize) -> Vec<Option<ErrorKind>>
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError> + Clone,
{
    kinds_of(service, (0..n).map(|_| call())).await
}

/// Asserts that the circuit is open for the next call, and returns its error.
async fn assert_open<S>(service: &mut S) -> ToolError
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError>,
{
    let rejected = error(service.call(call()).await);
    assert_eq!(rejected.kind(), ErrorKind::CircuitOpen);
    rejected
}

const OK: Option<ErrorKind> = None;
const FAILED: Option<ErrorKind> = Some(ErrorKind::Tool);
const REJECTED: Option<ErrorKind> = Some(ErrorKind::CircuitOpen);

#[tokio::test(start_paused = true)]
async fn opens_at_the_fifth_consecutive_failure_and_does_not_touch_the_tool() {
    let fails = Arc::new(AtomicBool::new(true));
    let tool = flaky(&fails);
    let breaker = CircuitBreakerLayer::new();
    let service = breaker.layer(tool.handle());
    assert_eq!(calls(&service, 4).await, [FAILED; 4]);
    // A success in between resets the count.
    fails.store(false, Ordering::SeqCst);
    assert_eq!(calls(&service, 1).await, [OK]);
    fails.store(true, Ordering::SeqCst);
    assert_eq!(calls(&service, 4).await, [FAILED; 4]);
    assert_eq!(breaker.state(), BreakerState::Closed);
    assert_eq!(calls(&service, 1).await, [FAILED]);
    assert_eq!(breaker.state(), BreakerState::Open);
    assert_eq!(tool.log().calls.len(), 10);
    assert_eq!(calls(&service, 100).await, [REJECTED; 100]);
    assert_eq!(tool.log().calls.len(), 10);
    assert_eq!(tool.log().ready_polls.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn rejection_names_its_call_and_when_to_retry() {
    let breaker = CircuitBreakerLayer::new();
    let service = breaker.layer(ScriptedTool::ready());
    breaker.trip();
    advance(Duration::from_micros(12_000_500)).await;
    let call = call().with_id("17");
    let outcomes = Outcomes::of(call.context());
    let rejected = error_of(service, call).await;
    assert_eq!(rejected.kind().as_str(), "circuit_open");
    let left = Duration::from_micros(17_999_500);
    assert_eq!(rejected.retry_after(), Some(left));
    let text = "the circuit is open, retry after 18s (by `breaker`)";
    assert_eq!(rejected.to_string(), text);
    assert_eq!(
        (rejected.tool(), rejected.call_id()),
        (Some("tool"), Some("17"))
    );
    assert!(rejected.is_retryable());
    assert_eq!(outcomes.all().await, [Outcome::Rejected]);
}

#[tokio::test(start_paused = true)]
async fn call_past_its_deadline_takes_no_probe() {
    let breaker = CircuitBreakerLayer::with_policy(two().with_open_time(Duration::ZERO));
    let tool = ScriptedTool::ready();
    let service = breaker.layer(tool.handle());
    breaker.trip();
    let late = call().with_deadline(tokio::time::Instant::now());
    assert_eq!(
        error_of(service.clone(), late).await.kind(),
        ErrorKind::Timeout
    );
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    assert!(tool.log().calls.is_empty());
    assert_eq!(calls(&service, 1).await, [OK]);
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn call_that_has_ended_before_is_not_started() {
    for breaker in [CircuitBreakerLayer::new(), CircuitBreakerLayer::off()] {
        let tool = ScriptedTool::ready();
        let cancelled = call();
        cancelled.canceller().cancel();
        let failed = error_of(breaker.layer(tool.handle()), cancelled).await;
        assert_eq!(failed.kind(), ErrorKind::Cancelled);
        assert!(tool.log().calls.is_empty());
    }
    let (breaker, tool) = (CircuitBreakerLayer::new(), ScriptedTool::ready());
    let late = call().with_deadline(tokio::time::Instant::now());
    let failed = error_of(breaker.layer(tool.handle()), late).await;
    assert_eq!(failed.kind(), ErrorKind::Timeout);
    assert!(tool.log().calls.is_empty());
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn layer_that_is_off_rejects_nothing() {
    let off = CircuitBreakerLayer::off();
    let service = off.layer(fails("down"));
    off.trip();
    off.on_state_change(|_| ());
    assert_eq!(calls(&service, 20).await, [FAILED; 20]);
    assert_eq!(off.state(), BreakerState::Disabled);
}
