//! Calls that wait hold no inner permit, are not overtaken, and spend no token.

use std::convert::Infallible;
use std::sync::Arc;

use governor::Quota;
use serde_json::json;
use tokio::sync::Semaphore;
use toolbooth::{ConcurrencyLimitLayer, RateLimitLayer, tool_fn};
use toolbooth_test::Recorder;
use toolbooth_tests::{hourly, quota};

use super::*;

/// RL1.
#[tokio::test(start_paused = true)]
async fn calls_that_wait_for_a_token_hold_no_inner_permit() {
    let permits = Arc::new(Semaphore::new(2));
    let shared = GlobalConcurrencyLimitLayer::with_semaphore(Arc::clone(&permits));
    let every_30_s = Quota::with_period(ms(30_000)).unwrap();
    let rate = RateLimitLayer::new(every_30_s);
    let limited = rate.layer(shared.layer(slow(Duration::ZERO)));
    let unrelated = erased(shared.layer(slow(Duration::ZERO)));

    let start = Instant::now();
    assert_eq!(timed(&erased(limited.clone())).await.1, Duration::ZERO);
    let waiting = [
        started(limited.clone()).await,
        started(limited.clone()).await,
        started(limited).await,
    ];
    assert_eq!((rate.queued(), permits.available_permits()), (3, 2));
    let unrelated = timed(&unrelated).await;
    assert_eq!(unrelated, (Ok("done".to_owned()), Duration::ZERO));

    for (waiting, after) in waiting.into_iter().zip([30, 60, 90]) {
        waiting.await.unwrap().unwrap();
        assert_eq!(start.elapsed(), ms(1_000 * after));
    }
    assert_eq!((rate.queued(), permits.available_permits()), (0, 2));
}

/// BH3.
#[tokio::test(start_paused = true)]
async fn calls_that_wait_for_our_permit_hold_no_inner_permit() {
    let permits = Arc::new(Semaphore::new(3));
    let shared = GlobalConcurrencyLimitLayer::with_semaphore(Arc::clone(&permits));
    let limit = ConcurrencyLimitLayer::new(1);
    let limited = limit.layer(shared.layer(slow(ms(10_000))));
    let unrelated = erased(shared.layer(slow(Duration::ZERO)));

    let start = Instant::now();
    let running = [
        started(limited.clone()).await,
        started(limited.clone()).await,
        started(limited).await,
    ];
    assert_eq!((limit.in_flight(), limit.queued()), (1, 2));
    assert_eq!(permits.available_permits(), 2);
    let unrelated = timed(&unrelated).await;
    assert_eq!(unrelated, (Ok("done".to_owned()), Duration::ZERO));

    for (running, after) in running.into_iter().zip([10, 20, 30]) {
        running.await.unwrap().unwrap();
        assert_eq!(start.elapsed(), ms(1_000 * after));
    }
    assert_eq!((limit.available(), permits.available_permits()), (1, 3));
}

/// `RL2c`.
#[tokio::test(start_paused = true)]
async fn no_waiter_for_a_token_is_overtaken() {
    const BATCHES: u64 = 800;
    let rate = RateLimitLayer::new(quota(200, 1)).with_max_wait(ms(2_000));
    let admitted = Recorder::new();
    let log = admitted.clone();
    let tool = tool_fn("tool", move |n: u64| {
        log.record(n);
        std::future::ready(Ok::<_, Infallible>(n))
    });
    let tool = erased(rate.layer(tool));

    // Two calls every 5 ms for 4 s: twice the rate.
    let mut calls = Vec::new();
    for batch in 0..BATCHES {
        for n in [2 * batch, 2 * batch + 1] {
            let call = ToolCall::new("tool", json!(n));
            let arrived = Instant::now();
            let call = tool.clone().oneshot(call);
            calls.push(tokio::spawn(async move {
                let ended = call.await.map_err(ToolError::from);
                (ended.map_err(|error| error.kind()).err(), arrived.elapsed())
            }));
        }
        sleep(ms(5)).await;
    }
    let mut rejected = 0;
    for call in calls {
        let (error, took) = call.await.unwrap();
        match error {
            None => assert!(took <= ms(2_000), "{took:?}"),
            Some(kind) => {
                assert_eq!((kind, took), (ErrorKind::RateLimited, Duration::ZERO));
                rejected += 1;
            }
        }
    }

    let admitted = admitted.entries();
    let overtaken = admitted.windows(2).filter(|pair| pair[0].1 > pair[1].1);
    assert_eq!(overtaken.count(), 0);
    // All of the first 2 s, until the wait is 2 s, then every second one; one each 5 ms.
    assert_eq!((admitted.len(), rejected), (1_200, 400));
    for (position, (at, _)) in (0..).zip(&admitted) {
        assert_eq!(*at, ms(5 * position));
    }
    assert_eq!(rate.queued(), 0);
}

/// RL4.
#[tokio::test(start_paused = true)]
async fn readiness_without_a_call_spends_no_token() {
    let rate = RateLimitLayer::new(hourly(10));
    let tool = rate.layer(slow(Duration::ZERO));
    for outside in [
        erased(tool.clone()),
        erased(LoadShed::new(tool.clone())),
        erased(TowerConcurrencyLimitLayer::new(10).layer(tool.clone())),
        erased(Buffer::new(tool.clone(), 10)),
        erased(TimeoutLayer::new(MINUTE).layer(tool.clone())),
    ] {
        let mut readied: Vec<Tool> = (0..10).map(|_| outside.clone()).collect();
        for clone in &mut readied {
            clone.ready().await.unwrap();
        }
        assert_eq!(rate.remaining(), 10);
    }
    run_all_tasks().await;
    assert_eq!(rate.remaining(), 10);
    respond(erased(tool), call()).await.unwrap();
    assert_eq!(rate.remaining(), 9);
}
