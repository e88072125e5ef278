//! On the real clock: what the paused one proves holds within 100 ms, and a runtime may go away in the middle of it.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::Quota;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use toolbooth::{
    CallContext, CleanupLayer, ConcurrencyLimitLayer, ErrorKind, PartialResultLayer,
    RateLimitLayer, TimeoutLayer, ToolCall, tool_fn,
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

fn within_100_ms_of(millis: u64, elapsed: Duration) {
    let due = Duration::from_millis(millis);
    assert!(
        (due..due + Duration::from_millis(100)).contains(&elapsed),
        "{elapsed:?} instead of {due:?}"
    );
}

#[tokio::test]
async fn a_timeout_strikes_on_time_for_100_calls() {
    let hangs = tool_fn("hangs", async |_: ()| {
        std::future::pending::<Result<(), std::io::Error>>().await
    });
    let tool = TimeoutLayer::new(Duration::from_millis(300)).layer(hangs);
    let started = Instant::now();
    let calls = (0..100).map(|_| tool.clone().oneshot(ToolCall::new("hangs", json!(null))));
    for answer in futures_util::future::join_all(calls).await {
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Timeout);
    }
    within_100_ms_of(300, started.elapsed());
}

#[tokio::test]
async fn a_rate_is_kept() {
    let quota = Quota::per_second(NonZeroU32::new(100).unwrap()).allow_burst(NonZeroU32::MIN);
    let tool = RateLimitLayer::new(quota)
        .layer(tool_fn("fast", async |_: ()| Ok::<_, std::io::Error>(())));
    let started = Instant::now();
    let calls = (0..41).map(|_| tool.clone().oneshot(ToolCall::new("fast", json!(null))));
    for answer in futures_util::future::join_all(calls).await {
        answer.unwrap();
    }
    within_100_ms_of(400, started.elapsed());
}

/// The error comes at the limit, the hook's end 500 ms later.
#[tokio::test]
async fn cleanup_delays_nobody() {
    let (done, cleaned) = oneshot::channel();
    let cleanup = CleanupLayer::new();
    let call = ToolCall::new("hangs", json!(null));
    call.context().on_cleanup(|_| async move {
        sleep(Duration::from_millis(500)).await;
        done.send(()).expect("the test waits for it");
    });
    let hangs = tool_fn("hangs", async |_: ()| {
        std::future::pending::<Result<(), std::io::Error>>().await
    });
    let tool = TimeoutLayer::new(Duration::from_millis(300)).layer(cleanup.layer(hangs));
    let started = Instant::now();
    tool.oneshot(call).await.unwrap_err();
    within_100_ms_of(300, started.elapsed());
    cleaned.await.unwrap();
    within_100_ms_of(800, started.elapsed());
    assert_eq!(cleanup.drain(Duration::from_secs(1)).await.ran, 1);
}

/// Each hook ran or is counted as abandoned, and nothing panics; the limits are whole again.
#[test]
fn a_runtime_that_shuts_down_with_1000_calls_in_flight_loses_no_hook() {
    for workers in [1, 2] {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(workers)
            .enable_time()
            .build()
            .unwrap();
        let cleanup = CleanupLayer::new();
        let concurrency = ConcurrencyLimitLayer::new(500);
        let rate = RateLimitLayer::new(Quota::per_second(NonZeroU32::new(800).unwrap()));
        let ran = Arc::new(AtomicU64::new(0));
        let tool = tool_fn("hangs", async |call: CallContext, _: ()| {
            call.emit("begun");
            sleep(Duration::from_secs(3_600)).await;
            Ok::<_, std::io::Error>(())
        });
        let mut stack = ServiceBuilder::new()
            .layer(cleanup.clone())
            .layer(TimeoutLayer::new(Duration::from_secs(60)))
            .layer(rate.clone())
            .layer(concurrency.clone())
            .layer(PartialResultLayer::new())
            .service(tool);
        let calls: Vec<_> = (0..1_000)
            .map(|_| {
                let call = ToolCall::new("hangs", json!(null));
                let ran = Arc::clone(&ran);
                // Registered on the runtime that goes away.
                let _entered = runtime.enter();
                call.context().on_cleanup(move |_| async move {
                    ran.fetch_add(1, Ordering::Relaxed);
                });
                runtime.spawn(stack.call(call))
            })
            .collect();
        while concurrency.in_flight() < 500 || rate.queued() < 1 {
            std::thread::yield_now();
        }
        runtime.shutdown_timeout(Duration::from_secs(10));
        let report = cleanup.report();
        assert_eq!(report.failed, 0);
        assert_eq!(report.ran, ran.load(Ordering::Relaxed));
        assert_eq!(report.ran + report.abandoned, 1_000, "{report:?}");
        assert_eq!(
            (concurrency.in_flight(), concurrency.queued(), rate.queued()),
            (0, 0, 0)
        );
        assert!(calls.iter().all(tokio::task::JoinHandle::is_finished));
    }
}
