//! The circuit breaker in whole stacks, as equalities on the paused clock.
//!
//! The ids in doc comments name cases in which the breaker of another crate goes wrong. Each
//! comment states what happens there.

use std::iter::repeat_n;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::json;
use tokio::time::{Instant, advance, sleep};
use toolbooth::breaker::BreakerState;
use toolbooth::{
    BreakerPolicy, CircuitBreakerLayer, CleanupLayer, ConcurrencyLimitLayer, ErrorKind, Outcome,
    TimeoutLayer, ToolCall, ToolError, ToolOutput, tool_fn,
};
use toolbooth_test::{
    BoxTool, Probe, Recorder, boxed, call_all, count_kind, count_ok, ms, orders, outcome,
};
use tower::{Layer, ServiceBuilder, ServiceExt};

const SECOND: Duration = Duration::from_secs(1);
const OPEN: Duration = Duration::from_secs(30);

/// How the tool handles a call.
#[derive(Clone, Copy)]
enum Does {
    Completes,
    Fails,
    Panics,
    Hangs,
    /// Completes after this many milliseconds.
    Takes(u64),
}

fn call(does: Does) -> ToolCall {
    ToolCall::new(
        "api",
        match does {
            Does::Completes => json!("completes"),
            Does::Fails => json!("fails"),
            Does::Panics => json!("panics"),
            Does::Hangs => json!("hangs"),
            Does::Takes(millis) => json!(millis.to_string()),
        },
    )
}

/// A tool that does what its arguments say, and a probe inside of it.
fn api() -> (BoxTool, Probe) {
    let probe = Probe::new();
    let inside = probe.clone();
    let tool = tool_fn("api", move |does: String| {
        let inside = inside.enter();
        async move {
            let _inside = inside;
            match does.as_str() {
                "completes" => Ok("up".to_owned()),
                "fails" => Err(std::io::Error::other("503")),
                "panics" => std::panic::resume_unwind(Box::new("in the tool")),
                "hangs" => std::future::pending().await,
                millis => {
                    sleep(ms(millis.parse().expect("a number"))).await;
                    Ok("up".to_owned())
                }
            }
        }
    });
    (boxed(tool), probe)
}

/// Makes calls one after the other and returns their outcomes.
async fn in_turn<S>(tool: &S, calls: impl IntoIterator<Item = Does>) -> Vec<Outcome>
where
    S: tower::Service<ToolCall, Response = ToolOutput, Error = ToolError> + Clone,
{
    let mut outcomes = Vec::new();
    for does in calls {
        let call = AssertUnwindSafe(tool.clone().oneshot(call(does)));
        outcomes.push(outcome(call.catch_unwind().await));
    }
    outcomes
}

/// Opens on the fifth failure in a row, rejects for 30 s, then admits one of 50 calls as a probe.
#[tokio::test(start_paused = true)]
async fn breaker_opens_rejects_probes_and_closes() {
    let (api, probe) = api();
    let breaker = CircuitBreakerLayer::new();
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(SECOND))
        .layer(breaker.clone())
        .service(api);

    // Failures and timeouts count, a dropped call does not, and a success restarts the count.
    assert_eq!(
        in_turn(&stack, [Does::Fails; 4]).await,
        [Outcome::Failed; 4]
    );
    in_turn(&stack, [Does::Completes]).await;
    let mixed = [Does::Fails, Does::Hangs, Does::Fails, Does::Hangs];
    in_turn(&stack, mixed).await;
    let dropped = tokio::time::timeout(ms(10), stack.clone().oneshot(call(Does::Hangs))).await;
    assert!(dropped.is_err());
    assert_eq!(breaker.state(), BreakerState::Closed);
    assert_eq!(in_turn(&stack, [Does::Hangs]).await, [Outcome::TimedOut]);
    assert_eq!((breaker.state(), probe.started()), (BreakerState::Open, 11));

    // It rejects at once for 30 s, and each rejection has the remaining time.
    let opened = Instant::now();
    for after in [0, 1, 29_999] {
        tokio::time::sleep_until(opened + ms(after)).await;
        let rejected = stack
            .clone()
            .oneshot(call(Does::Completes))
            .await
            .unwrap_err();
        assert_eq!(rejected.kind(), ErrorKind::CircuitOpen);
        assert_eq!(rejected.retry_after(), Some(ms(30_000 - after)));
    }
    assert_eq!((opened.elapsed(), probe.started()), (ms(29_999), 11));

    // Of 50 calls at once one runs and 49 are rejected; a failed probe opens the breaker again.
    for (probes, does, state) in [
        (12, Does::Fails, BreakerState::Open),
        (13, Does::Takes(10), BreakerState::Closed),
    ] {
        tokio::time::sleep_until(opened + ms(30_000) * (probes - 11)).await;
        let fifty = call_all(stack.clone(), (0..50).map(|_| call(does))).await;
        assert_eq!(count_kind(&fifty, ErrorKind::CircuitOpen), 49);
        assert_eq!((probe.started(), breaker.state()), (probes as usize, state));
    }
    let fifty = call_all(stack, (0..50).map(|_| call(Does::Completes))).await;
    assert_eq!(count_ok(&fifty), 50);
}

/// CB2: two probes 150 ms apart are never both in a window of 100 ms, so that it stays half-open.
#[tokio::test(start_paused = true)]
async fn probes_are_counted_while_half_open() -> Result<(), toolbooth::ConfigError> {
    let (api, _) = api();
    let policy = BreakerPolicy::new()
        .with_failure_rate(0.5, ms(100))?
        .with_probes(2)?;
    let breaker = CircuitBreakerLayer::with_policy(policy);
    let stack = breaker.layer(api);
    breaker.trip();
    advance(OPEN).await;
    in_turn(&stack, [Does::Completes]).await;
    sleep(ms(150)).await;
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    in_turn(&stack, [Does::Completes]).await;
    assert_eq!(breaker.state(), BreakerState::Closed);
    assert_eq!(
        in_turn(&stack, [Does::Completes; 20]).await,
        [Outcome::Completed; 20]
    );
    Ok(())
}

/// CB3: a call from before the outage counts as a probe and closes the breaker.
#[tokio::test(start_paused = true)]
async fn call_from_before_the_trip_decides_nothing() {
    for stale in [Does::Takes(40_000), Does::Hangs] {
        let (api, _) = api();
        let breaker = CircuitBreakerLayer::new();
        let stack = ServiceBuilder::new()
            .layer(TimeoutLayer::new(ms(50_000)))
            .layer(breaker.clone())
            .service(api);
        let old = tokio::spawn(stack.clone().oneshot(call(stale)));
        tokio::task::yield_now().await;
        in_turn(&stack, [Does::Fails; 5]).await;
        advance(OPEN).await;
        let probe = tokio::spawn(stack.clone().oneshot(call(Does::Takes(40_000))));
        tokio::task::yield_now().await;
        old.await.expect("no panic").ok();
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert_eq!(
            in_turn(&stack, [Does::Completes]).await,
            [Outcome::Rejected]
        );
        assert!(probe.await.expect("no panic").is_ok());
        assert_eq!(breaker.state(), BreakerState::Closed);
    }
}

/// CB5: panics do not count.
#[tokio::test(start_paused = true)]
async fn panics_count() {
    let (api, probe) = api();
    let outcomes = in_turn(&CircuitBreakerLayer::new().layer(api), [Does::Panics; 50]).await;
    let expected = [vec![Outcome::Panicked; 5], vec![Outcome::Rejected; 45]].concat();
    assert_eq!((outcomes, probe.started()), (expected, 5));
}

/// CB7: a window of time stores every record. The benchmarks measure the cost of a record.
#[tokio::test(start_paused = true)]
async fn window_of_many_calls_is_exact() -> Result<(), toolbooth::ConfigError> {
    let policy = || BreakerPolicy::new().with_minimum_calls(1_000);
    for (policy, passes) in [
        (policy().with_failure_rate(0.5, 1_000)?, ms(0)),
        (policy().with_failure_rate(0.5, SECOND)?, SECOND),
    ] {
        let (api, _) = api();
        let breaker = CircuitBreakerLayer::with_policy(policy);
        let stack = breaker.layer(api);
        in_turn(&stack, repeat_n(Does::Completes, 20_000)).await;
        advance(passes).await;
        // Earlier calls are outside of the window, by their number or by their age.
        in_turn(&stack, [Does::Completes; 500]).await;
        assert_eq!(
            in_turn(&stack, [Does::Fails; 500]).await,
            [Outcome::Failed; 500]
        );
        assert_eq!(breaker.state(), BreakerState::Open);
    }
    Ok(())
}

/// `CB8b`: three clones become ready, and two of their calls are rejected.
#[tokio::test(start_paused = true)]
async fn readiness_reserves_no_probe() {
    let (api, probe) = api();
    let breaker = CircuitBreakerLayer::new();
    let stack = breaker.layer(api);
    breaker.trip();
    advance(OPEN).await;
    let mut idle = [stack.clone(), stack.clone(), stack.clone()];
    for clone in &mut idle {
        ServiceExt::<ToolCall>::ready(clone).await.unwrap();
    }
    let finished = call_all(stack, (0..3).map(|_| call(Does::Takes(10)))).await;
    assert_eq!(
        (
            probe.started(),
            count_kind(&finished, ErrorKind::CircuitOpen)
        ),
        (1, 2)
    );
    assert_eq!(breaker.state(), BreakerState::Closed);
    assert_eq!(
        call_all(idle[0].clone(), [call(Does::Completes)]).await[0].error_kind(),
        None
    );
}

/// C6, in every order of the three layers.
#[tokio::test(start_paused = true)]
async fn probes_permits_and_queue_slots_are_released_after_thirty_timeouts() {
    for order in orders([0, 1, 2]) {
        let (mut stack, _) = api();
        let policy = BreakerPolicy::new().with_open_time(ms(1));
        let breaker = CircuitBreakerLayer::with_policy(policy);
        let limit = ConcurrencyLimitLayer::new(10);
        for layer in order {
            stack = match layer {
                0 => boxed(TimeoutLayer::new(ms(10)).layer(stack)),
                1 => boxed(breaker.layer(stack)),
                _ => boxed(limit.layer(stack)),
            };
        }
        let thirty = call_all(stack.clone(), (0..30).map(|_| call(Does::Hangs))).await;
        assert_eq!(count_ok(&thirty), 0);
        assert_eq!((limit.available(), limit.queued()), (10, 0), "{order:?}");
        sleep(ms(2)).await;
        assert_eq!(
            in_turn(&stack, [Does::Completes]).await,
            [Outcome::Completed],
            "{order:?}"
        );
        assert_eq!(breaker.state(), BreakerState::Closed, "{order:?}");
    }
}

/// C7.
#[tokio::test(start_paused = true)]
async fn rejected_call_has_one_outcome() {
    let (api, _) = api();
    let (breaker, cleanup) = (CircuitBreakerLayer::new(), CleanupLayer::new());
    let stack = cleanup.layer(breaker.layer(api));
    breaker.trip();
    let hooks = Recorder::new();
    let call = call(Does::Completes);
    call.context().on_cleanup(hooks.hook());
    assert_eq!(
        stack.oneshot(call).await.unwrap_err().kind(),
        ErrorKind::CircuitOpen
    );
    let report = cleanup.drain(SECOND).await;
    assert_eq!((report.ran, hooks.values()), (1, vec![Outcome::Rejected]));
}
