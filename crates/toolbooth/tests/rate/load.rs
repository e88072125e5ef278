//! Whole calls through a rate limit (guarantees Q1 to Q3).

use std::convert::Infallible;
use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::sleep;
use toolbooth::{ErrorKind, Outcome, Quota, RateLimitLayer, tool_fn};
use toolbooth_test::{
    FailingTool, FastTool, RateLimitedTool, Recorder, Stopwatch, boxed, call, call_all, count_kind,
    count_ok, last_ok, ms,
};
use tower::{Layer, ServiceExt};

use super::support::limits::{begin, calls, quota, recording};

/// Q1.
#[tokio::test(start_paused = true)]
async fn burst_is_admitted_at_once_and_a_rejection_has_retry_after() {
    for (burst, admitted) in [(10, 10), (20, 20), (1, 1)] {
        let tool = FastTool::new();
        let limit = RateLimitLayer::new(quota(10, burst)).reject();
        let finished = call_all(limit.layer(tool.clone()), calls(50)).await;
        assert_eq!(count_ok(&finished), admitted);
        assert_eq!(count_kind(&finished, ErrorKind::RateLimited), 50 - admitted);
        let first_rejected = finished[admitted].result.as_ref().unwrap_err();
        assert_eq!(first_rejected.retry_after(), Some(ms(100)));
        assert_eq!(first_rejected.outcome(), Outcome::Rejected);
        assert_eq!(tool.probe().started(), admitted);
    }
}

/// Q1.
#[tokio::test(start_paused = true)]
async fn retry_after_is_the_instant_of_the_next_token() {
    let limit = RateLimitLayer::new(quota(10, 1)).reject();
    let tool = boxed(limit.layer(FailingTool::new(100)));
    let watch = Stopwatch::start();
    tool.clone().oneshot(call("tool")).await.unwrap();
    for (at, retry_after) in [(0, 100), (30, 70), (99, 1)] {
        watch.until(ms(at)).await;
        let rejected = tool.clone().oneshot(call("tool")).await.unwrap_err();
        assert_eq!(rejected.retry_after(), Some(ms(retry_after)));
        assert_eq!(limit.remaining(), 0);
    }
    watch.until(ms(100)).await;
    assert_eq!(limit.remaining(), 1);
    tool.oneshot(call("tool")).await.unwrap();
    assert_eq!(limit.remaining(), 0);
}

/// Q1.
#[tokio::test(start_paused = true)]
async fn no_window_has_more_starts_than_burst_and_rate_allow() {
    for (rate, burst) in [(10, 10), (10, 1), (3, 5), (700, 1), (5_000, 20)] {
        let starts = Recorder::new();
        let record = starts.clone();
        let tool = tool_fn("tool", move |(): ()| {
            record.record(());
            async { Ok::<_, Infallible>("done") }
        });
        let limit = RateLimitLayer::new(quota(rate, burst));
        call_all(limit.layer(tool), calls(500)).await;

        let times = starts.times();
        assert_eq!(times.len(), 500);
        for (from, first) in times.iter().enumerate() {
            for (to, last) in times.iter().enumerate().skip(from) {
                // Timers of tokio have a resolution of one millisecond.
                let window = (last.saturating_sub(*first) + ms(1)).as_nanos();
                let allowed = u128::from(burst) * 1_000_000_000 + u128::from(rate) * window;
                let seen = u128::try_from(to - from + 1).unwrap() * 1_000_000_000;
                assert!(seen <= allowed, "{rate}/s, burst {burst}: {from}..={to}");
            }
        }
    }
}

/// Q2.
#[tokio::test(start_paused = true)]
async fn waiters_are_admitted_at_the_rate() {
    for (burst, last) in [(1, 4_900), (10, 4_000), (20, 3_000)] {
        let starts = Recorder::new();
        let limit = RateLimitLayer::new(quota(10, burst));
        let stack = limit.layer(recording(&starts));
        let calls = (0..50).map(|n| call("tool").with_id(n.to_string()));
        let finished = call_all(stack, calls).await;
        assert_eq!(count_ok(&finished), 50);
        // The burst at once, then one every 100 ms, first in first out.
        let expected: Vec<_> = (0..50_u64)
            .map(|n| {
                (
                    ms(100 * (n + 1).saturating_sub(u64::from(burst))),
                    n.to_string(),
                )
            })
            .collect();
        assert_eq!(starts.entries(), expected);
        assert_eq!(starts.times().last(), Some(&ms(last)));
        assert_eq!(limit.queued(), 0);
    }
}

/// Q2.
#[tokio::test(start_paused = true)]
async fn refill_stops_at_the_burst() {
    for burst in [1, 10, 20] {
        let limit = RateLimitLayer::new(quota(10, burst)).reject();
        let tool = limit.layer(FastTool::new());
        let burst = usize::try_from(burst).unwrap();
        for idle in [0, 10_000, 3_600_000] {
            sleep(ms(idle)).await;
            let finished = call_all(tool.clone(), calls(50)).await;
            assert_eq!(count_ok(&finished), burst);
            assert_eq!(count_kind(&finished, ErrorKind::RateLimited), 50 - burst);
        }
    }
}

/// Q3.
#[tokio::test(start_paused = true)]
async fn limit_in_front_of_a_backend_prevents_its_rejections() {
    // (burst, rejections by the backend, time of the last response)
    for (burst, rejections, done) in [(10, 0, 4_050), (20, 9, 3_050)] {
        let backend = RateLimitedTool::new();
        let limit = RateLimitLayer::new(quota(10, burst));
        let finished = call_all(limit.layer(backend.clone()), calls(50)).await;
        assert_eq!(backend.rejections(), rejections);
        assert_eq!(backend.accepted(), 50 - rejections);
        assert_eq!(count_ok(&finished), 50 - rejections);
        // A rejection by the backend is a failure of the tool.
        assert_eq!(count_kind(&finished, ErrorKind::Tool), rejections);
        assert_eq!(last_ok(&finished), Some(ms(done)));
    }
}

/// Q3, control.
#[tokio::test(start_paused = true)]
async fn backend_rejects_thirty_calls_without_a_limit() {
    let off = RateLimitLayer::new(None);
    for limited in [false, true] {
        let backend = RateLimitedTool::new();
        let stack = match limited {
            true => boxed(off.layer(backend.clone())),
            false => boxed(backend.clone()),
        };
        let finished = call_all(stack, calls(50)).await;
        assert_eq!((backend.accepted(), backend.rejections()), (20, 30));
        assert_eq!(count_kind(&finished, ErrorKind::Tool), 30);
        assert_eq!(last_ok(&finished), Some(ms(50)));
    }
}

/// RL5: no sum of times overflows.
#[tokio::test(start_paused = true)]
async fn slowest_and_fastest_quotas_work() {
    for (quota, admitted) in [
        (Quota::with_period(Duration::MAX).unwrap(), 1),
        (
            Quota::with_period(Duration::MAX)
                .unwrap()
                .allow_burst(NonZeroU32::MAX),
            50,
        ),
        (Quota::with_period(Duration::from_nanos(1)).unwrap(), 1),
        (Quota::per_second(NonZeroU32::MAX), 50),
    ] {
        let rate = RateLimitLayer::new(quota).reject();
        for _ in 0..2 {
            let finished = call_all(rate.layer(FastTool::new()), calls(50)).await;
            assert!(count_ok(&finished) <= admitted, "{quota:?}");
            assert_eq!(
                count_ok(&finished) + count_kind(&finished, ErrorKind::RateLimited),
                50
            );
        }
        let waits = RateLimitLayer::new(quota).with_max_wait(ms(1_000));
        let finished = call_all(waits.layer(FastTool::new()), calls(50)).await;
        assert_eq!(
            count_ok(&finished) + count_kind(&finished, ErrorKind::RateLimited),
            50
        );
    }
}

/// RL6: a fixed window admits twice the rate at its edge. No window of a second does so here.
#[tokio::test(start_paused = true)]
async fn no_window_of_a_second_has_more_starts_than_the_rate() {
    let starts = Recorder::new();
    let rate = RateLimitLayer::new(quota(100, 1)).reject();
    let stack = rate.layer(recording(&starts));
    for _ in 0..3_000 {
        drop(begin(&stack, call("tool")).await);
        sleep(ms(1)).await;
    }
    let times = starts.times();
    assert_eq!(times.len(), 300);
    for (from, first) in times.iter().enumerate() {
        let within = times[from..]
            .iter()
            .take_while(|at| **at < *first + ms(1_000));
        assert!(within.count() <= 100);
    }
}
