//! The circuit breaker: when it opens, what it refuses, what counts, and that every probe makes way for the next one.

#[path = "../support/mod.rs"]
mod support;

mod counts;
mod handles;
mod keys;
mod probes;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::laws::every_layer;
use support::{Mock, Probe, Readiness, Reply, call, error, mock, ms, text, told};
use toolbooth::breaker::{BreakerState, CircuitBreaker, ResponseFuture};
use toolbooth::{BreakerPolicy, CircuitBreakerLayer, ErrorKind, Outcome, ToolCall, ToolOutput};
use tower::{Layer, Service, ServiceExt};

every_layer!(CircuitBreakerLayer::new());

const OPEN: Duration = Duration::from_secs(30);

/// A tool that fails as long as it is told to, and counts its calls.
fn flaky(fails: &Arc<AtomicBool>) -> Probe {
    let fails = Arc::clone(fails);
    Probe::new(move |_| {
        let fails = fails.load(Ordering::SeqCst);
        async move {
            match fails {
                true => Err("down".into()),
                false => Ok(ToolOutput::text("up")),
            }
        }
    })
}

/// A breaker that opens at the second failure in a row.
fn two() -> BreakerPolicy {
    let policy = BreakerPolicy::new().with_consecutive_failures(2);
    policy.expect("2 is not 0")
}

async fn calls<S>(service: &S, calls: usize) -> Vec<Option<ErrorKind>>
where
    S: Service<ToolCall, Response = ToolOutput, Error = toolbooth::ToolError> + Clone,
{
    let mut kinds = Vec::new();
    for _ in 0..calls {
        let answer = service.clone().oneshot(call()).await;
        kinds.push(answer.err().map(|error| error.kind()));
    }
    kinds
}

const OK: Option<ErrorKind> = None;
const FAILED: Option<ErrorKind> = Some(ErrorKind::Tool);
const REFUSED: Option<ErrorKind> = Some(ErrorKind::CircuitOpen);

#[tokio::test(start_paused = true)]
async fn opens_at_the_fifth_failure_in_a_row_and_then_the_tool_is_not_touched() {
    let fails = Arc::new(AtomicBool::new(true));
    let probe = flaky(&fails);
    let breaker = CircuitBreakerLayer::new();
    let service = breaker.layer(probe.view());
    assert_eq!(calls(&service, 4).await, [FAILED; 4]);
    // An answer in between begins the row anew.
    fails.store(false, Ordering::SeqCst);
    assert_eq!(calls(&service, 1).await, [OK]);
    fails.store(true, Ordering::SeqCst);
    assert_eq!(calls(&service, 4).await, [FAILED; 4]);
    assert_eq!(breaker.state(), BreakerState::Closed);
    assert_eq!(calls(&service, 1).await, [FAILED]);
    assert_eq!(breaker.state(), BreakerState::Open);
    let reached = probe.log().calls.len();
    assert_eq!(
        (reached, calls(&service, 100).await),
        (10, vec![REFUSED; 100])
    );
    assert_eq!(probe.log().calls.len(), 10);
    assert_eq!(probe.log().ready_polls.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_whose_it_is_and_when_to_come_again() {
    let breaker = CircuitBreakerLayer::new();
    let mut service = breaker.layer(Probe::ready());
    breaker.trip();
    tokio::time::advance(Duration::from_micros(12_000_500)).await;
    let call = call().with_id("17");
    let outcomes = told(call.context());
    let refused = error(service.call(call).await);
    assert_eq!(refused.kind().as_str(), "circuit_open");
    assert_eq!(
        refused.retry_after(),
        Some(Duration::from_micros(17_999_500))
    );
    assert_eq!(refused.to_string(), "the circuit is open, retry after 18s");
    assert_eq!(
        (refused.tool(), refused.call_id()),
        (Some("tool"), Some("17"))
    );
    assert!(refused.is_retryable());
    assert_eq!(outcomes.outcomes().await, [Outcome::Rejected]);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_has_passed_is_no_probe() {
    let breaker = CircuitBreakerLayer::with_policy(two().with_open_time(Duration::ZERO));
    let probe = Probe::ready();
    let mut service = breaker.layer(probe.view());
    breaker.trip();
    let late = call().with_deadline(tokio::time::Instant::now());
    assert_eq!(error(service.call(late).await).kind(), ErrorKind::Timeout);
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    assert!(probe.log().calls.is_empty());
    assert_eq!(calls(&service, 1).await, [OK]);
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn what_was_over_before_it_came_is_not_started() {
    for breaker in [CircuitBreakerLayer::new(), CircuitBreakerLayer::off()] {
        let probe = Probe::ready();
        let mut service = breaker.layer(probe.view());
        let cancelled = call();
        cancelled.canceller().cancel();
        let kind = error(service.call(cancelled).await).kind();
        assert_eq!(kind, ErrorKind::Cancelled);
        assert!(probe.log().calls.is_empty());
    }
    let (breaker, probe) = (CircuitBreakerLayer::new(), Probe::ready());
    let mut service = breaker.layer(probe.view());
    let late = call().with_deadline(tokio::time::Instant::now());
    assert_eq!(error(service.call(late).await).kind(), ErrorKind::Timeout);
    assert!(probe.log().calls.is_empty());
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn off_lets_everything_through() {
    let probe = flaky(&Arc::new(AtomicBool::new(true)));
    let off = CircuitBreakerLayer::off();
    let service = off.layer(probe.view());
    off.trip();
    off.on_state_change(|_| ());
    assert_eq!(calls(&service, 20).await, [FAILED; 20]);
    assert_eq!(off.state(), BreakerState::Disabled);
}

#[test]
fn services_and_futures_are_what_they_wrap() {
    fn is<T: Send + Sync>() {}
    is::<CircuitBreakerLayer>();
    is::<CircuitBreaker<Mock>>();
    is::<BreakerPolicy>();
    fn sends<T: Send>() {}
    sends::<ResponseFuture<Mock, ToolCall>>();
}
