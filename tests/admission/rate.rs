//! Q: the rate limit.

use super::*;

#[tokio::test(start_paused = true)]
async fn q1_as_many_as_the_burst_are_admitted_at_once_and_the_others_told_when() {
    for (burst, admitted) in [(10, 10), (20, 20), (1, 1)] {
        let tool = FastTool::new();
        let limit = RateLimitLayer::new(quota(10, burst)).reject();
        let finished = call_all(limit.layer(tool.clone()), calls(50)).await;
        assert_eq!(count_ok(&finished), admitted);
        assert_eq!(count(&finished, ErrorKind::RateLimited), 50 - admitted);
        let first_refusal = finished[admitted].result.as_ref().unwrap_err();
        assert_eq!(first_refusal.retry_after(), Some(ms(100)));
        assert_eq!(first_refusal.outcome(), Outcome::Rejected);
        assert_eq!(tool.probe().started(), admitted);
    }
}

#[tokio::test(start_paused = true)]
async fn q1_a_refusal_says_exactly_when_the_next_token_is_there() {
    let limit = RateLimitLayer::new(quota(10, 1)).reject();
    let tool = BoxTool::new(limit.layer(FailingTool::new(100)));
    let watch = Stopwatch::start();
    tool.clone().oneshot(call("tool")).await.unwrap();
    for (at, retry_after) in [(0, 100), (30, 70), (99, 1)] {
        watch.until(ms(at)).await;
        let refused = tool.clone().oneshot(call("tool")).await.unwrap_err();
        assert_eq!(refused.retry_after(), Some(ms(retry_after)));
        assert_eq!(limit.remaining(), 0);
    }
    watch.until(ms(100)).await;
    assert_eq!(limit.remaining(), 1);
    tool.oneshot(call("tool")).await.unwrap();
    assert_eq!(limit.remaining(), 0);
}

#[tokio::test(start_paused = true)]
async fn q1_no_window_sees_more_than_burst_and_rate_allow() {
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
                // The millisecond is the tick of tokio's timers.
                let window = (last.saturating_sub(*first) + ms(1)).as_nanos();
                let allowed = u128::from(burst) * 1_000_000_000 + u128::from(rate) * window;
                let seen = u128::try_from(to - from + 1).unwrap() * 1_000_000_000;
                assert!(seen <= allowed, "{rate}/s, burst {burst}: {from}..={to}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn q2_all_who_wait_are_admitted_at_the_rate() {
    for (burst, last) in [(1, 4_900), (10, 4_000), (20, 3_000)] {
        let starts = Recorder::new();
        let limit = RateLimitLayer::new(quota(10, burst));
        let stack = limit.layer(order_tool(starts.clone()));
        let calls = (0..50).map(|n| call("order").with_id(n.to_string()));
        let finished = call_all(stack, calls).await;
        assert_eq!(count_ok(&finished), 50);
        // The burst at once, then one every 100 ms, in the order in which they came.
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

#[tokio::test(start_paused = true)]
async fn q2_the_refill_stops_at_the_burst() {
    for burst in [1, 10, 20] {
        let limit = RateLimitLayer::new(quota(10, burst)).reject();
        let tool = limit.layer(FastTool::new());
        let burst = usize::try_from(burst).unwrap();
        for idle in [0, 10_000, 3_600_000] {
            sleep(ms(idle)).await;
            let finished = call_all(tool.clone(), calls(50)).await;
            assert_eq!(count_ok(&finished), burst);
            assert_eq!(count(&finished, ErrorKind::RateLimited), 50 - burst);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn q3_a_limit_in_front_keeps_the_backend_from_refusing() {
    // (burst, refusals at the backend, when the last answer is there)
    for (burst, refusals, done) in [(10, 0, 4_050), (20, 9, 3_050)] {
        let backend = RateLimitedTool::new();
        let limit = RateLimitLayer::new(quota(10, burst));
        let finished = call_all(limit.layer(backend.clone()), calls(50)).await;
        assert_eq!(backend.refusals(), refusals);
        assert_eq!(backend.taken(), 50 - refusals);
        assert_eq!(count_ok(&finished), 50 - refusals);
        // A refusal by the backend is the tool's own failure, and no refusal of ours.
        assert_eq!(count(&finished, ErrorKind::Tool), refusals);
        assert_eq!(last_ok(&finished), Some(ms(done)));
    }
}

/// The negative control: without a limit, or with one that is off, the backend refuses 30.
#[tokio::test(start_paused = true)]
async fn q3_control_without_a_limit_the_backend_refuses_thirty() {
    let off = RateLimitLayer::new(None);
    for limited in [false, true] {
        let backend = RateLimitedTool::new();
        let stack = match limited {
            true => BoxTool::new(off.layer(backend.clone())),
            false => BoxTool::new(backend.clone()),
        };
        let finished = call_all(stack, calls(50)).await;
        assert_eq!((backend.taken(), backend.refusals()), (20, 30));
        assert_eq!(count(&finished, ErrorKind::Tool), 30);
        assert_eq!(last_ok(&finished), Some(ms(50)));
    }
}

/// The slowest and the fastest there can be: no sum of times overflows, nothing panics, and the limit goes on working.
#[tokio::test(start_paused = true)]
async fn rl5_no_period_breaks_the_limit() {
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
                count_ok(&finished) + count(&finished, ErrorKind::RateLimited),
                50
            );
        }
        let waits = RateLimitLayer::new(quota).with_max_wait(ms(1_000));
        let finished = call_all(waits.layer(FastTool::new()), calls(50)).await;
        assert_eq!(
            count_ok(&finished) + count(&finished, ErrorKind::RateLimited),
            50
        );
    }
}

/// A window of a fixed clock lets twice the rate through at its edge: here no window of a second does, wherever it begins.
#[tokio::test(start_paused = true)]
async fn rl6_no_edge_at_which_twice_as_many_start() {
    let starts = Recorder::new();
    let rate = RateLimitLayer::new(quota(100, 1)).reject();
    let stack = rate.layer(order_tool(starts.clone()));
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
