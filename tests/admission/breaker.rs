//! The circuit breaker in whole stacks, as equalities on the paused clock. The first test is what is promised of it; the others bear
//! the names of the cases in which another crate's breaker goes wrong, each with what happens there.

use std::iter::repeat_n;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::json;
use tokio::time::{Instant, advance, sleep};
use toolbooth::breaker::BreakerState;
use toolbooth::{
    BreakerPolicy, CircuitBreakerLayer, CleanupLayer, ConcurrencyLimitLayer, ErrorKind, Outcome,
    TimeoutLayer, ToolCall, ToolError, ToolOutput, tool_fn,
};
use toolbooth_test::{Finished, Probe, Recorder, call_all, ms};
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceBuilder, ServiceExt};

type BoxTool = BoxCloneSyncService<ToolCall, ToolOutput, ToolError>;

const SECOND: Duration = Duration::from_secs(1);
const OPEN: Duration = Duration::from_secs(30);

/// What the tool does with a call: its arguments say it.
#[derive(Clone, Copy)]
enum Does {
    Answers,
    Fails,
    Panics,
    Hangs,
    /// Answers after so many milliseconds.
    Takes(u64),
}

fn call(does: Does) -> ToolCall {
    ToolCall::new(
        "api",
        match does {
            Does::Answers => json!("answers"),
            Does::Fails => json!("fails"),
            Does::Panics => json!("panics"),
            Does::Hangs => json!("hangs"),
            Does::Takes(millis) => json!(millis.to_string()),
        },
    )
}

/// A tool that does as its arguments say, and who is inside of it.
fn api() -> (BoxTool, Probe) {
    let probe = Probe::new();
    let inside = probe.clone();
    let tool = tool_fn("api", move |does: String| {
        let inside = inside.enter();
        async move {
            let _inside = inside;
            match does.as_str() {
                "answers" => Ok("up".to_owned()),
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
    (BoxTool::new(tool), probe)
}

/// How calls ended that were made one after the other.
async fn in_turn<S>(tool: &S, calls: impl IntoIterator<Item = Does>) -> Vec<Outcome>
where
    S: tower::Service<ToolCall, Response = ToolOutput, Error = ToolError> + Clone,
{
    let mut outcomes = Vec::new();
    for does in calls {
        let answer = AssertUnwindSafe(tool.clone().oneshot(call(does)))
            .catch_unwind()
            .await;
        outcomes.push(match answer {
            Ok(Ok(_)) => Outcome::Completed,
            Ok(Err(error)) => error.outcome(),
            Err(_) => Outcome::Panicked,
        });
    }
    outcomes
}

fn count(finished: &[Finished], kind: ErrorKind) -> usize {
    let kinds = finished.iter().filter_map(Finished::error_kind);
    kinds.filter(|found| *found == kind).count()
}

/// Opens on exactly the fifth failure in a row, refuses for 30 s, then exactly one of fifty probes.
#[tokio::test(start_paused = true)]
async fn opens_refuses_probes_and_closes() {
    let (api, probe) = api();
    let breaker = CircuitBreakerLayer::new();
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(SECOND))
        .layer(breaker.clone())
        .service(api);

    // Failures and timeouts count, a caller who leaves does not, and a success begins the row anew.
    assert_eq!(
        in_turn(&stack, [Does::Fails; 4]).await,
        [Outcome::Failed; 4]
    );
    in_turn(&stack, [Does::Answers]).await;
    let mixed = [Does::Fails, Does::Hangs, Does::Fails, Does::Hangs];
    in_turn(&stack, mixed).await;
    let left = tokio::time::timeout(ms(10), stack.clone().oneshot(call(Does::Hangs))).await;
    assert!(left.is_err());
    assert_eq!(breaker.state(), BreakerState::Closed);
    assert_eq!(in_turn(&stack, [Does::Hangs]).await, [Outcome::TimedOut]);
    assert_eq!((breaker.state(), probe.started()), (BreakerState::Open, 11));

    // Refused at once for 30 s, and every refusal says how long it still is.
    let opened = Instant::now();
    for after in [0, 1, 29_999] {
        tokio::time::sleep_until(opened + ms(after)).await;
        let refused = stack
            .clone()
            .oneshot(call(Does::Answers))
            .await
            .unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::CircuitOpen);
        assert_eq!(refused.retry_after(), Some(ms(30_000 - after)));
    }
    assert_eq!((opened.elapsed(), probe.started()), (ms(29_999), 11));

    // Fifty at once: one runs, 49 are refused; it fails, and all begins again.
    for (probes, does, state) in [
        (12, Does::Fails, BreakerState::Open),
        (13, Does::Takes(10), BreakerState::Closed),
    ] {
        tokio::time::sleep_until(opened + ms(30_000) * (probes - 11)).await;
        let fifty = call_all(stack.clone(), (0..50).map(|_| call(does))).await;
        assert_eq!(count(&fifty, ErrorKind::CircuitOpen), 49);
        assert_eq!((probe.started(), breaker.state()), (probes as usize, state));
    }
    let fifty = call_all(stack, (0..50).map(|_| call(Does::Answers))).await;
    assert_eq!(fifty.iter().filter(|call| call.is_ok()).count(), 50);
}

/// A refusal is no success and no failure: whatever number of them, the next five failures open it, and no fewer.
#[tokio::test(start_paused = true)]
async fn a_refusal_changes_no_count() {
    let (api, _) = api();
    let outer = CircuitBreakerLayer::new();
    let inner = CircuitBreakerLayer::new();
    let stack = ServiceBuilder::new()
        .layer(outer.clone())
        .layer(inner.clone())
        .service(api);
    in_turn(&stack, [Does::Fails; 4]).await;
    inner.trip();
    assert_eq!(
        in_turn(&stack, [Does::Answers; 50]).await,
        [Outcome::Rejected; 50]
    );
    assert_eq!(outer.state(), BreakerState::Closed);
    inner.reset();
    assert_eq!(in_turn(&stack, [Does::Fails]).await, [Outcome::Failed]);
    assert_eq!(
        (outer.state(), inner.state()),
        (BreakerState::Open, BreakerState::Closed)
    );
}

/// There the window of 10 calls never slides: after 10,000 answers it takes 10,000 failures.
#[tokio::test(start_paused = true)]
async fn cb1_the_window_slides() -> Result<(), toolbooth::ConfigError> {
    let (api, probe) = api();
    let policy = BreakerPolicy::new().with_failure_rate(0.5, 10)?;
    let breaker = CircuitBreakerLayer::with_policy(policy);
    let stack = breaker.layer(api);
    in_turn(&stack, repeat_n(Does::Answers, 10_000)).await;
    let outcomes = in_turn(&stack, [Does::Fails; 6]).await;
    let expected = [vec![Outcome::Failed; 5], vec![Outcome::Rejected]].concat();
    assert_eq!((outcomes, probe.started()), (expected, 10_005));
    Ok(())
}

/// There two probes that succeed 150 ms apart are never both inside of a window of 100 ms: half-open for ever.
#[tokio::test(start_paused = true)]
async fn cb2_probes_are_counted_for_as_long_as_it_is_half_open()
-> Result<(), toolbooth::ConfigError> {
    let (api, _) = api();
    let policy = BreakerPolicy::new()
        .with_failure_rate(0.5, ms(100))?
        .with_probes(2)?;
    let breaker = CircuitBreakerLayer::with_policy(policy);
    let stack = breaker.layer(api);
    breaker.trip();
    advance(OPEN).await;
    in_turn(&stack, [Does::Answers]).await;
    sleep(ms(150)).await;
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    in_turn(&stack, [Does::Answers]).await;
    assert_eq!(breaker.state(), BreakerState::Closed);
    assert_eq!(
        in_turn(&stack, [Does::Answers; 20]).await,
        [Outcome::Completed; 20]
    );
    Ok(())
}

/// There a call from before the outage that ends while half-open is taken for a probe, and closes it while the real one hangs.
#[tokio::test(start_paused = true)]
async fn cb3_a_result_from_before_the_trip_decides_nothing() {
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
        assert_eq!(in_turn(&stack, [Does::Answers]).await, [Outcome::Rejected]);
        assert!(probe.await.expect("no panic").is_ok());
        assert_eq!(breaker.state(), BreakerState::Closed);
    }
}

/// There a breaker inside of a timeout is blind: 100 timeouts, still closed.
#[tokio::test(start_paused = true)]
async fn cb4_timeouts_count_wherever_the_timeout_stands() {
    for outside in [true, false] {
        let (api, probe) = api();
        let (timeout, breaker) = (TimeoutLayer::new(ms(10)), CircuitBreakerLayer::new());
        let stack = if outside {
            BoxTool::new(timeout.layer(breaker.layer(api)))
        } else {
            BoxTool::new(breaker.layer(timeout.layer(api)))
        };
        let outcomes = in_turn(&stack, [Does::Hangs; 100]).await;
        let expected = [vec![Outcome::TimedOut; 5], vec![Outcome::Rejected; 95]].concat();
        assert_eq!((outcomes, probe.started()), (expected, 5));
    }
}

/// There it is blind to panics: 50 of them, still closed.
#[tokio::test(start_paused = true)]
async fn cb5_panics_count() {
    let (api, probe) = api();
    let outcomes = in_turn(&CircuitBreakerLayer::new().layer(api), [Does::Panics; 50]).await;
    let expected = [vec![Outcome::Panicked; 5], vec![Outcome::Rejected; 45]].concat();
    assert_eq!((outcomes, probe.started()), (expected, 5));
}

/// There a probe that hangs blocks the tool for ever: 50 of 50 later calls are refused.
#[tokio::test(start_paused = true)]
async fn cb6_a_probe_that_hangs_is_given_up() {
    let (api, probe) = api();
    let policy = BreakerPolicy::new()
        .with_half_open_limit(Duration::from_secs(60))
        .unwrap();
    let breaker = CircuitBreakerLayer::with_policy(policy);
    let stack = breaker.layer(api);
    breaker.trip();
    advance(OPEN).await;
    let hung = tokio::spawn(stack.clone().oneshot(call(Does::Hangs)));
    tokio::task::yield_now().await;
    assert_eq!(
        in_turn(&stack, [Does::Answers; 50]).await,
        [Outcome::Rejected; 50]
    );
    // Given up after 60 s, and open for 30 s more.
    advance(Duration::from_secs(60)).await;
    let refused = stack
        .clone()
        .oneshot(call(Does::Answers))
        .await
        .unwrap_err();
    assert_eq!(refused.retry_after(), Some(OPEN));
    advance(OPEN).await;
    assert_eq!(
        in_turn(&stack, [Does::Answers; 50]).await,
        [Outcome::Completed; 50]
    );
    assert_eq!((probe.started(), probe.running()), (51, 1));
    hung.abort();
}

/// There a window of time keeps every record: 50,000 of them cost 50 times what 1,000 do. How long a record takes is measured
/// elsewhere; here, that a window of a million calls is still exactly the window.
#[tokio::test(start_paused = true)]
async fn cb7_a_window_of_many_calls_is_exact() -> Result<(), toolbooth::ConfigError> {
    let policy = || BreakerPolicy::new().with_minimum_calls(1_000);
    for (policy, passes) in [
        (policy().with_failure_rate(0.5, 1_000)?, ms(0)),
        (policy().with_failure_rate(0.5, SECOND)?, SECOND),
    ] {
        let (api, _) = api();
        let breaker = CircuitBreakerLayer::with_policy(policy);
        let stack = breaker.layer(api);
        in_turn(&stack, repeat_n(Does::Answers, 20_000)).await;
        advance(passes).await;
        // What was before is out of the window: by the calls that came, or by the time that passed.
        in_turn(&stack, [Does::Answers; 500]).await;
        assert_eq!(
            in_turn(&stack, [Does::Fails; 500]).await,
            [Outcome::Failed; 500]
        );
        assert_eq!(breaker.state(), BreakerState::Open);
    }
    Ok(())
}

/// There three clones are told that they are ready, and then two are refused. Here `ready` promises nothing, and holds nothing either.
#[tokio::test(start_paused = true)]
async fn cb8b_readiness_reserves_no_probe() {
    let (api, probe) = api();
    let breaker = CircuitBreakerLayer::new();
    let stack = breaker.layer(api);
    breaker.trip();
    advance(OPEN).await;
    let mut idle = [stack.clone(), stack.clone(), stack.clone()];
    for clone in &mut idle {
        ServiceExt::<ToolCall>::ready(clone).await.unwrap();
    }
    let answers = call_all(stack, (0..3).map(|_| call(Does::Takes(10)))).await;
    assert_eq!(
        (probe.started(), count(&answers, ErrorKind::CircuitOpen)),
        (1, 2)
    );
    assert_eq!(breaker.state(), BreakerState::Closed);
    assert_eq!(
        call_all(idle[0].clone(), [call(Does::Answers)]).await[0].error_kind(),
        None
    );
}

/// C6: thirty calls that time out leave no probe, no permit and no place in line taken, in every order.
#[tokio::test(start_paused = true)]
async fn c6_probes_permits_and_places_are_back_after_thirty_timeouts() {
    for order in 0..6 {
        let (mut stack, _) = api();
        let policy = BreakerPolicy::new().with_open_time(ms(1));
        let breaker = CircuitBreakerLayer::with_policy(policy);
        let limit = ConcurrencyLimitLayer::new(10);
        let mut layers = vec![0, 1, 2];
        let first = layers.remove(order / 2);
        let second = layers.remove(order % 2);
        for layer in [layers[0], second, first] {
            stack = match layer {
                0 => BoxTool::new(TimeoutLayer::new(ms(10)).layer(stack)),
                1 => BoxTool::new(breaker.layer(stack)),
                _ => BoxTool::new(limit.layer(stack)),
            };
        }
        let thirty = call_all(stack.clone(), (0..30).map(|_| call(Does::Hangs))).await;
        assert_eq!(
            thirty.len(),
            thirty.iter().filter(|call| !call.is_ok()).count()
        );
        assert_eq!(
            (limit.available(), limit.queued()),
            (10, 0),
            "order {order}"
        );
        sleep(ms(2)).await;
        assert_eq!(
            in_turn(&stack, [Does::Answers]).await,
            [Outcome::Completed],
            "order {order}"
        );
        assert_eq!(breaker.state(), BreakerState::Closed, "order {order}");
    }
}

/// A refused call has one outcome, and its hooks are told.
#[tokio::test(start_paused = true)]
async fn c7_a_refused_call_has_one_outcome() {
    let (api, _) = api();
    let (breaker, cleanup) = (CircuitBreakerLayer::new(), CleanupLayer::new());
    let stack = cleanup.layer(breaker.layer(api));
    breaker.trip();
    let told = Recorder::new();
    let call = call(Does::Answers);
    call.context().on_cleanup(told.hook());
    assert_eq!(
        stack.oneshot(call).await.unwrap_err().kind(),
        ErrorKind::CircuitOpen
    );
    let report = cleanup.drain(SECOND).await;
    assert_eq!((report.ran, told.values()), (1, vec![Outcome::Rejected]));
}

/// Every change of the state is told once, so that a gauge for each state adds up to one.
#[tokio::test(start_paused = true)]
async fn obs_a_gauge_for_each_state_adds_up_to_one() {
    let gauges: Arc<[AtomicUsize; 4]> = Arc::default();
    let index = |state| match state {
        BreakerState::Closed => 0,
        BreakerState::Open => 1,
        BreakerState::HalfOpen => 2,
        _ => 3,
    };
    gauges[0].store(1, Ordering::SeqCst);
    let (api, _) = api();
    let breaker = CircuitBreakerLayer::new();
    let set = Arc::clone(&gauges);
    breaker.on_state_change(move |change| {
        set[index(change.from)].fetch_sub(1, Ordering::SeqCst);
        set[index(change.to)].fetch_add(1, Ordering::SeqCst);
    });
    let stack = breaker.layer(api);
    let read = || {
        let gauge = |at: usize| gauges[at].load(Ordering::SeqCst);
        [gauge(0), gauge(1), gauge(2), gauge(3)]
    };
    in_turn(&stack, [Does::Fails; 5]).await;
    assert_eq!(read(), [0, 1, 0, 0]);
    advance(OPEN).await;
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    assert_eq!(read(), [0, 0, 1, 0]);
    in_turn(&stack, [Does::Answers]).await;
    assert_eq!(read(), [1, 0, 0, 0]);
    breaker.disable();
    assert_eq!(read(), [0, 0, 0, 1]);
}
