//! Permits of tower and of toolbooth that a layer in between could leak.

use std::pin::pin;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::Semaphore;
use toolbooth::{ConcurrencyLimitLayer, PartialResultLayer};
use toolbooth_test::Probe;
use toolbooth_tests::hanging;

use super::*;

/// Makes 100 calls one after the other through one clone and counts the rejected.
async fn rejected_of_100<S>(service: &mut S) -> usize
where
    S: Service<ToolCall, Response = ToolOutput>,
{
    let mut rejected = 0;
    for _ in 0..100 {
        let ended = match service.ready().await {
            Ok(ready) => ready.call(call()).await,
            Err(error) => Err(error),
        };
        rejected += usize::from(ended.is_err());
    }
    rejected
}

/// TW3.
#[tokio::test(start_paused = true)]
async fn load_shed_around_our_limit_leaks_no_permit() {
    // Control: around the limit of tower, the clone that shed a call keeps a permit.
    let limited = LoadShed::new(TowerConcurrencyLimitLayer::new(1).layer(slow(ms(10))));
    let (mut idle, mut other) = (limited.clone(), limited.clone());
    let running = started(limited).await;
    assert!(idle.ready().await.unwrap().call(call()).await.is_err());
    running.await.unwrap().unwrap();
    assert_eq!(rejected_of_100(&mut other).await, 100);
    drop(idle);

    // Without a queue our limit rejects the call; with one the call waits in its future.
    for capacity in [0, 1] {
        let limit = ConcurrencyLimitLayer::new(1).with_queue_capacity(capacity);
        let limited = LoadShed::new(limit.layer(slow(ms(10))));
        let (mut idle, mut other) = (limited.clone(), limited.clone());
        let running = started(limited).await;
        let second = idle.ready().await.unwrap().call(call()).await;
        assert_eq!(second.is_ok(), capacity == 1);
        running.await.unwrap().unwrap();
        idle.ready().await.unwrap();
        assert_eq!(limit.available(), 1);
        assert_eq!(rejected_of_100(&mut other).await, 0);
        assert_eq!((limit.available(), limit.queued()), (1, 0));
    }
}

/// `TW3b`.
#[tokio::test(start_paused = true)]
async fn ready_clone_of_each_layer_holds_no_inner_permit() {
    let permits = Arc::new(Semaphore::new(1));
    let global = GlobalConcurrencyLimitLayer::with_semaphore(Arc::clone(&permits));
    let limited = global.layer(slow(ms(10)));
    // Control: that of tower holds the permit.
    let mut idle = limited.clone();
    idle.ready().await.unwrap();
    assert_eq!(permits.available_permits(), 0);
    drop(idle);
    assert_eq!(permits.available_permits(), 1);

    let ours = ours();
    for kind in Kind::ALL {
        let mut tool = ours.around(kind, limited.clone());
        tool.ready().await.unwrap();
        assert_eq!(permits.available_permits(), 1, "{kind:?} readied");

        // Nor after a call, nor after one that was dropped while it waited for the permit.
        tool.call(call()).await.unwrap();
        tool.ready().await.unwrap();
        assert_eq!(permits.available_permits(), 1, "{kind:?} called");
        let running = started(limited.clone()).await;
        assert!(tool.call(call()).now_or_never().is_none());
        running.await.unwrap().unwrap();
        tool.ready().await.unwrap();
        assert_eq!(permits.available_permits(), 1, "{kind:?} dropped");
    }
}

/// TW4.
#[tokio::test(start_paused = true)]
async fn permit_is_released_by_the_poll_that_completes_the_future() {
    let permits = Arc::new(Semaphore::new(1));
    let global = GlobalConcurrencyLimitLayer::with_semaphore(Arc::clone(&permits));
    // Control: that of tower is released by the drop.
    {
        let mut limited = global.layer(slow(ms(10)));
        let mut kept = pin!(limited.ready().await.unwrap().call(call()));
        kept.as_mut().await.unwrap();
        assert_eq!(permits.available_permits(), 0);
    }

    let limit = ConcurrencyLimitLayer::new(1);
    let mut tool = limit.layer(slow(ms(10)));
    let mut kept = pin!(tool.call(call()));
    kept.as_mut().await.unwrap();
    assert_eq!((limit.available(), limit.in_flight()), (1, 0));

    // Every layer releases a foreign permit in the same poll. A box would hide it by its own drop.
    let limited = global.layer(slow(ms(10)));
    let ours = ours();
    assert_released_by_the_last_poll(TimeoutLayer::new(MINUTE).layer(limited.clone()), &permits)
        .await;
    assert_released_by_the_last_poll(ours.rate.layer(limited.clone()), &permits).await;
    assert_released_by_the_last_poll(ours.limit.layer(limited.clone()), &permits).await;
    assert_released_by_the_last_poll(ours.cleanup.layer(limited.clone()), &permits).await;
    assert_released_by_the_last_poll(PartialResultLayer::new().layer(limited), &permits).await;
}

async fn assert_released_by_the_last_poll<S>(mut tool: S, permits: &Semaphore)
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError>,
{
    let mut kept = pin!(tool.call(call()));
    assert!(kept.as_mut().now_or_never().is_none());
    assert_eq!(permits.available_permits(), 0, "running");
    kept.as_mut().await.expect("it completes");
    assert_eq!(permits.available_permits(), 1, "done");
}

/// TW5, C3.
#[tokio::test(start_paused = true)]
async fn timeout_drops_the_inner_future_before_it_returns_the_error() {
    let inside = Probe::new();
    let permits = Arc::new(Semaphore::new(1));
    let limited = GlobalConcurrencyLimitLayer::with_semaphore(Arc::clone(&permits));
    let limited = limited.layer(hanging(&inside));
    let counts = || (inside.running(), permits.available_permits());

    // Control: that of tower keeps it.
    {
        let mut tool = TowerTimeout::new(limited.clone(), ms(50));
        let mut kept = pin!(tool.ready().await.unwrap().call(call()));
        assert!(kept.as_mut().await.is_err());
        assert_eq!(counts(), (1, 0));
    }
    assert_eq!(counts(), (0, 1));

    let limit = ConcurrencyLimitLayer::new(1);
    let mut tool = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ms(50)))
        .layer(limit.clone())
        .service(limited);
    let start = Instant::now();
    let mut kept = pin!(tool.call(call()));
    assert!(kept.as_mut().now_or_never().is_none());
    assert_eq!((counts(), limit.available()), ((1, 0), 0));
    let error = kept.as_mut().await.unwrap_err();
    assert_eq!(
        (error.kind(), start.elapsed()),
        (ErrorKind::Timeout, ms(50))
    );
    assert_eq!((counts(), limit.available()), ((0, 1), 1));
}
