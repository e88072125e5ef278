//! Half-open: probes run one at a time or as many as are set, and none is ever lost.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use super::support::{next_text, respond, rest, stream_of, streams, ticking};
use super::*;

/// A half-open breaker around a tool.
async fn half_open(
    policy: BreakerPolicy,
    tool: &ScriptedTool,
) -> (CircuitBreakerLayer, CircuitBreaker<ScriptedTool>) {
    let breaker = CircuitBreakerLayer::with_policy(policy);
    let service = breaker.layer(tool.handle());
    breaker.trip();
    advance(OPEN).await;
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    (breaker, service)
}

#[tokio::test(start_paused = true)]
async fn open_time_is_exact_and_then_one_probe_runs() {
    let breaker = CircuitBreakerLayer::new();
    let mut service = breaker.layer(ScriptedTool::pending());
    breaker.trip();
    advance(OPEN.saturating_sub(Duration::from_nanos(1))).await;
    let rejected = assert_open(&mut service).await;
    assert_eq!(rejected.retry_after(), Some(Duration::from_nanos(1)));
    advance(Duration::from_nanos(1)).await;
    let mut probe = task::spawn(service.call(call()));
    assert_pending!(probe.poll());
    let rejected = assert_open(&mut service).await;
    assert_eq!(rejected.retry_after(), None);
    let text = "the circuit is open, and the time to retry is not known (by `breaker`)";
    assert_eq!(rejected.to_string(), text);
}

#[tokio::test(start_paused = true)]
async fn success_closes_and_failure_opens_again() {
    let fails = Arc::new(AtomicBool::new(true));
    let (breaker, service) = half_open(two(), &flaky(&fails)).await;
    assert_eq!(calls(&service, 2).await, [FAILED, REJECTED]);
    assert_eq!(breaker.state(), BreakerState::Open);
    advance(OPEN).await;
    fails.store(false, Ordering::SeqCst);
    assert_eq!(calls(&service, 1).await, [OK]);
    assert_eq!(breaker.state(), BreakerState::Closed);
    // The count starts at 0.
    fails.store(true, Ordering::SeqCst);
    assert_eq!(calls(&service, 3).await, [FAILED, FAILED, REJECTED]);
}

#[tokio::test(start_paused = true)]
async fn with_probes_runs_that_many_at_once_and_closes_when_all_succeed() {
    let policy = two().with_probes(3).unwrap();
    let breaker = CircuitBreakerLayer::with_policy(policy.with_open_time(Duration::ZERO));
    let (mut service, mut handle) = mock(&breaker);
    breaker.trip();
    let probes: Vec<_> = (0..3).map(|_| task::spawn(service.call(call()))).collect();
    for mut probe in probes {
        // Probes that succeeded and probes that run are three together.
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert_open(&mut service).await;
        respond(&mut handle, ToolOutput::text("up")).await;
        assert!(probe.poll().is_ready());
    }
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn dropped_probe_makes_room_for_the_next() {
    // Dropped before its first poll, while the tool is not ready, and while the tool runs.
    let tool = ScriptedTool::pending();
    let (breaker, mut service) = half_open(two(), &tool).await;
    for readiness in [Readiness::Ready, Readiness::Pending] {
        tool.set_readiness(readiness);
        for polls in [0, 1] {
            let mut probe = task::spawn(service.call(call()));
            for _ in 0..polls {
                assert_pending!(probe.poll());
            }
            assert_open(&mut service).await;
            drop(probe);
            assert_eq!(breaker.state(), BreakerState::HalfOpen);
        }
    }
    assert_pending!(task::spawn(service.call(call())).poll());
}

/// A sibling of Case B4: the stream may be endless, and other calls are rejected meanwhile.
#[tokio::test(start_paused = true)]
async fn probe_with_a_streaming_response_is_a_success_at_its_first_item() {
    for probes in [1, 2] {
        let (tool, _) = streams(|probe| ticking(probe, ms(10), ["a", "b"]));
        let policy = two().with_probes(probes).unwrap();
        let (breaker, service) = half_open(policy, &tool).await;
        let mut started = Vec::new();
        for _ in 0..probes {
            assert_eq!(breaker.state(), BreakerState::HalfOpen);
            let mut stream = stream_of(service.clone(), call()).await;
            assert_eq!(next_text(&mut stream).await, "a");
            started.push(stream);
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
        for stream in &mut started {
            assert_eq!(rest(stream).await.0.len(), 1);
        }
        // Its end is not counted again.
        assert_eq!(calls(&breaker.layer(fails("down")), 1).await, [FAILED]);
        drop(started);
        assert_eq!(calls(&breaker.layer(fails("down")), 1).await, [FAILED]);
        assert_eq!(breaker.state(), BreakerState::Open);
    }
}

/// The time to the last byte shows whether it is slow.
#[tokio::test(start_paused = true)]
async fn streaming_probe_ends_with_the_stream_if_slow_calls_count() {
    let policy = two().with_slow_calls(ms(5), 1.0, 10).unwrap();
    let (tool, _) = streams(|probe| ticking(probe, ms(10), ["a", "b"]));
    let (breaker, mut service) = half_open(policy, &tool).await;
    let mut stream = stream_of(service.clone(), call()).await;
    for item in ["a", "b"] {
        assert_eq!(next_text(&mut stream).await, item);
        assert_open(&mut service).await;
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
    }
    assert!(rest(&mut stream).await.0.is_empty());
    assert_eq!(breaker.state(), BreakerState::Open);
}

/// Case B4. An item shows that the tool works. A stream without one is replaced.
#[tokio::test(start_paused = true)]
async fn probe_that_is_dropped_after_an_item_closes_the_breaker() {
    let (tool, _) = streams(|probe| ticking(probe, ms(10), ["a", "b"]));
    let (breaker, mut service) = half_open(two(), &tool).await;
    for _ in 0..10 {
        let stream = stream_of(service.clone(), call()).await;
        assert_open(&mut service).await;
        drop(stream);
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
    }
    let mut stream = stream_of(service, call()).await;
    assert_eq!(next_text(&mut stream).await, "a");
    drop(stream);
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn panicking_probe_is_a_failure_or_with_panics_false_makes_room() {
    for (policy, panics, state) in [
        (two(), 1, BreakerState::Open),
        (two().with_panics(false), 3, BreakerState::HalfOpen),
    ] {
        for tool in [
            ScriptedTool::panics_in_call(),
            ScriptedTool::panics_in_future(),
            ScriptedTool::ready().with_readiness(Readiness::Panics),
        ] {
            let (breaker, mut service) = half_open(policy.clone(), &tool).await;
            for _ in 0..panics {
                let panic = AssertUnwindSafe(async { service.call(call()).await });
                assert!(panic.catch_unwind().await.is_err());
                assert_eq!(breaker.state(), state);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn pending_probe_is_a_failure_at_its_limit() {
    let policy = two().with_half_open_limit(Duration::from_secs(60)).unwrap();
    let (breaker, mut service) = half_open(policy, &ScriptedTool::pending()).await;
    let mut stuck = task::spawn(service.call(call()));
    assert_pending!(stuck.poll());
    advance(Duration::from_nanos(59_999_999_999)).await;
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    advance(Duration::from_nanos(1)).await;
    assert_eq!(assert_open(&mut service).await.retry_after(), Some(OPEN));
    // Without any call in between, the open time runs out, too.
    advance(OPEN).await;
    let mut next = task::spawn(service.call(call()));
    assert_pending!(next.poll());
    // Dropping the probe that was given up frees no room.
    drop(stuck);
    assert_open(&mut service).await;
    drop(next);
    assert_pending!(task::spawn(service.call(call())).poll());
}

#[tokio::test(start_paused = true)]
async fn open_time_grows_until_the_breaker_closes() {
    let fails = Arc::new(AtomicBool::new(true));
    let policy = two().with_open_growth(2.0, Duration::from_secs(100));
    let breaker = CircuitBreakerLayer::with_policy(policy.unwrap());
    let mut service = breaker.layer(flaky(&fails));
    calls(&service, 2).await;
    for open in [30, 60, 100, 100].map(Duration::from_secs) {
        assert_eq!(assert_open(&mut service).await.retry_after(), Some(open));
        advance(open).await;
        assert_eq!(calls(&service, 1).await, [FAILED]);
    }
    advance(Duration::from_secs(100)).await;
    fails.store(false, Ordering::SeqCst);
    assert_eq!(calls(&service, 1).await, [OK]);
    fails.store(true, Ordering::SeqCst);
    calls(&service, 2).await;
    assert_eq!(assert_open(&mut service).await.retry_after(), Some(OPEN));
}

/// Also after trips that make the factor infinite.
#[tokio::test(start_paused = true)]
async fn open_time_of_zero_stays_zero_however_it_grows() {
    let policy = two().with_open_time(Duration::ZERO);
    let policy = policy.with_open_growth(f64::MAX, Duration::from_secs(100));
    let breaker = CircuitBreakerLayer::with_policy(policy.unwrap());
    for _ in 0..4 {
        breaker.trip();
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
    }
}

#[tokio::test(start_paused = true)]
async fn unlimited_open_time_lasts_until_the_reset() {
    let policy = two().with_open_time(Duration::MAX);
    let breaker = CircuitBreakerLayer::with_policy(policy);
    let mut service = breaker.layer(ScriptedTool::ready());
    breaker.trip();
    advance(Duration::from_secs(1 << 30)).await;
    assert_eq!(assert_open(&mut service).await.retry_after(), None);
    breaker.reset();
    assert_eq!(calls(&service, 1).await, [OK]);
}
