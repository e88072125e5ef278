//! A retry outside of a circuit breaker: how long a call waits for an open circuit.

use std::error::Error;

use futures_util::future::join_all;
use toolbooth::{BreakerPolicy, ErrorKind};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn source_of(error: &ToolError) -> Option<&ToolError> {
    error.source()?.downcast_ref()
}

/// Case A6. An open breaker is not waited for beyond the maximum, and the last failure of the tool
/// is the source of the error.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn open_circuit_is_not_waited_for_beyond_the_maximum() {
    let policy = RetryPolicy::new(3).without_budget();
    let broken = support::fails(retryable());
    let stack = (RetryLayer::new(policy), CircuitBreakerLayer::new()).layer(broken.handle());
    let start = Instant::now();
    let calls = (0..100).map(|_| {
        let stack = stack.clone();
        async move { (error(stack.oneshot(call()).await), start.elapsed()) }
    });
    let mut started = 0;
    for (error, at) in join_all(calls).await {
        // One wait of 30 s, and no second one.
        assert!(at <= 31 * SECOND, "{at:?}");
        assert_eq!(error.kind(), ErrorKind::CircuitOpen);
        let source = source_of(&error).map(ToolError::kind);
        assert_eq!(source, error.started().then_some(ErrorKind::Tool));
        started += usize::from(error.started());
    }
    // Five calls opened the circuit, and one of the others probed it after 30 s.
    assert_eq!((broken.probe().started(), started), (5 + 1, 5 + 1));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn open_circuit_without_a_hint_is_waited_for_up_to_the_maximum() {
    let policy = RetryPolicy::new(1_000).without_budget().with_seed(3);
    // As a breaker rejects while a probe runs.
    let tool = support::fails(ToolError::circuit_open(None));
    let start = Instant::now();
    let rejected = failure(RetryLayer::new(policy).layer(tool.handle()), call()).await;
    assert_eq!(rejected.kind(), ErrorKind::CircuitOpen);
    // The next wait would be up to 10 s.
    let waited = start.elapsed();
    assert!(
        (50 * SECOND..=60 * SECOND + ms(20)).contains(&waited),
        "{waited:?}"
    );
    assert!(tool.probe().started() > 5);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn maximum_bounds_all_waits_for_a_circuit_together() {
    let policy = BreakerPolicy::new()
        .with_consecutive_failures(1)
        .expect("one failure");
    let breaker = CircuitBreakerLayer::with_policy(policy);
    let broken = support::fails(retryable());
    for (max, attempts) in [(29, 2), (30, 4), (59, 4), (60, 6), (90, 8)] {
        breaker.reset();
        let made = Starts::new();
        let log = made.clone();
        let policy = at_once(9)
            .with_max_retry_after(max * SECOND)
            .without_budget();
        let stack = ServiceBuilder::new()
            .layer(RetryLayer::new(policy))
            .map_request(move |call: ToolCall| {
                log.record(());
                call
            })
            .layer(breaker.clone())
            .service(broken.handle());
        let rejected = error_of(stack, call()).await;
        // Each attempt that reaches the tool opens the circuit for 30 s.
        assert_eq!(rejected.retry_after(), Some(30 * SECOND), "{max}");
        assert_eq!(made.len(), attempts, "{max}");
    }
}
