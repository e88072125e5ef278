//! Half-open: one call at a time, or as many as are set; and none of them is ever lost.

use super::*;
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use support::{Count, next, ticking};
use tokio_test::assert_pending;

/// A breaker that is half-open by now, around a probe.
async fn half_open(
    policy: BreakerPolicy,
    probe: &Probe,
) -> (CircuitBreakerLayer, CircuitBreaker<Probe>) {
    let breaker = CircuitBreakerLayer::with_policy(policy);
    let service = breaker.layer(probe.view());
    breaker.trip();
    tokio::time::advance(OPEN).await;
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    (breaker, service)
}

#[tokio::test(start_paused = true)]
async fn refuses_to_the_last_nanosecond_and_then_lets_one_through() {
    let breaker = CircuitBreakerLayer::new();
    let mut service = breaker.layer(Probe::stuck());
    breaker.trip();
    tokio::time::advance(Duration::from_nanos(29_999_999_999)).await;
    let refused = error(service.call(call()).await);
    assert_eq!(refused.retry_after(), Some(Duration::from_nanos(1)));
    tokio::time::advance(Duration::from_nanos(1)).await;
    let mut probing = tokio_test::task::spawn(service.call(call()));
    assert_pending!(probing.poll());
    let refused = error(service.call(call()).await);
    assert_eq!(refused.retry_after(), None);
    assert_eq!(
        refused.to_string(),
        "the circuit is open, and the time to retry is not known"
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_closes_it_and_a_failure_opens_it_again() {
    let fails = Arc::new(AtomicBool::new(true));
    let (breaker, service) = half_open(two(), &flaky(&fails)).await;
    assert_eq!(calls(&service, 2).await, [FAILED, REFUSED]);
    assert_eq!(breaker.state(), BreakerState::Open);
    tokio::time::advance(OPEN).await;
    fails.store(false, Ordering::SeqCst);
    assert_eq!(calls(&service, 1).await, [OK]);
    assert_eq!(breaker.state(), BreakerState::Closed);
    // As after a fresh start.
    fails.store(true, Ordering::SeqCst);
    assert_eq!(calls(&service, 3).await, [FAILED, FAILED, REFUSED]);
}

#[tokio::test(start_paused = true)]
async fn as_many_probes_as_are_set_run_at_once_and_all_of_them_must_succeed() {
    let policy = two().with_probes(3).unwrap();
    let breaker = CircuitBreakerLayer::with_policy(policy.with_open_time(Duration::ZERO));
    let (mut service, mut handle) = mock(&breaker);
    breaker.trip();
    let mut probing: Vec<_> = (0..3)
        .map(|_| tokio_test::task::spawn(service.call(call())))
        .collect();
    assert_eq!(
        error(service.call(call()).await).kind(),
        ErrorKind::CircuitOpen
    );
    for (passed, probe) in probing.iter_mut().enumerate() {
        let (_, send) = handle.next_request().await.unwrap();
        send.send_response(ToolOutput::text("up"));
        assert!(probe.poll().is_ready());
        let state = if passed < 2 {
            BreakerState::HalfOpen
        } else {
            BreakerState::Closed
        };
        assert_eq!(breaker.state(), state);
        if passed < 2 {
            // Those that passed and those under way are three: no more is let through.
            assert_eq!(
                error(service.call(call()).await).kind(),
                ErrorKind::CircuitOpen
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_dropped_makes_way_for_the_next_one() {
    // Before it is polled, while its tool is not ready, while it runs.
    let probe = Probe::stuck();
    let (breaker, mut service) = half_open(two(), &probe).await;
    for readiness in [Readiness::Ready, Readiness::Pending] {
        probe.set(readiness);
        for polls in [0, 1] {
            let mut probing = tokio_test::task::spawn(service.call(call()));
            for _ in 0..polls {
                assert_pending!(probing.poll());
            }
            assert_eq!(
                error(service.call(call()).await).kind(),
                ErrorKind::CircuitOpen
            );
            drop(probing);
            assert_eq!(breaker.state(), BreakerState::HalfOpen);
        }
    }
    assert_pending!(tokio_test::task::spawn(service.call(call())).poll());
}

#[tokio::test(start_paused = true)]
async fn a_probe_with_a_streamed_answer_is_over_with_the_stream() {
    let dropped = Count::default();
    let probe = Probe::new(move |_| {
        let dropped = dropped.clone();
        async move { Ok(ticking(&dropped, ms(10), ["a", "b"])) }
    });
    let (breaker, mut service) = half_open(two(), &probe).await;
    let mut stream = service.call(call()).await.unwrap().into_stream();
    assert_eq!(next(&mut stream).await.unwrap().unwrap(), "a");
    assert_eq!(
        error(service.call(call()).await).kind(),
        ErrorKind::CircuitOpen
    );
    drop(stream);
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    let mut stream = service.call(call()).await.unwrap().into_stream();
    while let Some(piece) = next(&mut stream).await {
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        piece.unwrap();
    }
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_panics_is_a_failure_or_makes_way() {
    let panicking = || {
        [
            Probe::panics_in_call(),
            Probe::panics_in_work(),
            Probe::ready().with(Readiness::Panics),
        ]
    };
    for probe in panicking() {
        let (breaker, mut service) = half_open(two(), &probe).await;
        let panic = AssertUnwindSafe(async { service.call(call()).await }).catch_unwind();
        assert!(panic.await.is_err());
        assert_eq!(breaker.state(), BreakerState::Open);
    }
    for probe in panicking() {
        let (breaker, mut service) = half_open(two().with_panics(false), &probe).await;
        for _ in 0..3 {
            let panic = AssertUnwindSafe(async { service.call(call()).await }).catch_unwind();
            assert!(panic.await.is_err());
            assert_eq!(breaker.state(), BreakerState::HalfOpen);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_hangs_is_a_failure_at_the_limit() {
    let policy = two().with_half_open_limit(Duration::from_secs(60)).unwrap();
    let (breaker, mut service) = half_open(policy, &Probe::stuck()).await;
    let mut hung = tokio_test::task::spawn(service.call(call()));
    assert_pending!(hung.poll());
    tokio::time::advance(Duration::from_nanos(59_999_999_999)).await;
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    tokio::time::advance(Duration::from_nanos(1)).await;
    let refused = error(service.call(call()).await);
    assert_eq!(refused.retry_after(), Some(OPEN));
    // Nobody asked for a while: it was open all the same, and probes by now.
    tokio::time::advance(OPEN).await;
    let mut next = tokio_test::task::spawn(service.call(call()));
    assert_pending!(next.poll());
    // The probe that was given up takes nobody's place when it goes.
    drop(hung);
    assert_eq!(
        error(service.call(call()).await).kind(),
        ErrorKind::CircuitOpen
    );
    drop(next);
    assert_pending!(tokio_test::task::spawn(service.call(call())).poll());
}

#[tokio::test(start_paused = true)]
async fn the_open_time_grows_while_it_is_not_closed() {
    let fails = Arc::new(AtomicBool::new(true));
    let policy = two()
        .with_open_growth(2.0, Duration::from_secs(100))
        .unwrap();
    let breaker = CircuitBreakerLayer::with_policy(policy);
    let mut service = breaker.layer(flaky(&fails));
    calls(&service, 2).await;
    for open in [30, 60, 100, 100] {
        let refused = error(service.call(call()).await);
        assert_eq!(refused.retry_after(), Some(Duration::from_secs(open)));
        tokio::time::advance(Duration::from_secs(open)).await;
        assert_eq!(calls(&service, 1).await, [FAILED]);
    }
    tokio::time::advance(Duration::from_secs(100)).await;
    fails.store(false, Ordering::SeqCst);
    assert_eq!(calls(&service, 1).await, [OK]);
    fails.store(true, Ordering::SeqCst);
    calls(&service, 2).await;
    let refused = error(service.call(call()).await);
    assert_eq!(refused.retry_after(), Some(OPEN));
}

#[tokio::test(start_paused = true)]
async fn an_open_time_without_end_is_open_until_the_reset() {
    let policy = two().with_open_time(Duration::MAX);
    let breaker = CircuitBreakerLayer::with_policy(policy);
    let mut service = breaker.layer(Probe::ready());
    breaker.trip();
    tokio::time::advance(Duration::from_secs(1 << 30)).await;
    let refused = error(service.call(call()).await);
    assert_eq!(
        (refused.kind(), refused.retry_after()),
        (ErrorKind::CircuitOpen, None)
    );
    breaker.reset();
    assert_eq!(calls(&service, 1).await, [OK]);
}
