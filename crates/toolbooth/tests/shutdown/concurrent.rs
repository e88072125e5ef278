//! Several shutdowns, dropped shutdowns, and calls that race with one.

use toolbooth::PartialResultLayer;

use super::*;

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn clones_of_the_layer_and_of_the_service_share_one_shutdown() {
    let shutdown = ShutdownLayer::new();
    let service = shutdown.clone().layer(ScriptedTool::pending());
    let running = start(service.clone(), call()).await;
    let report = shut_down(&shutdown.clone(), ms(10), ms(10)).await;
    assert_eq!(report, Counts::calls(0, 1));
    assert_eq!(failed(running).await.kind(), ErrorKind::Cancelled);
    assert_eq!(
        error_of(service, call()).await.kind(),
        ErrorKind::Overloaded
    );
    let other = ShutdownLayer::new();
    let ready = other.layer(ScriptedTool::ready());
    assert_eq!(text_of(ready, call()).await, "done");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn second_shutdown_returns_the_same_counts() {
    let shutdown = ShutdownLayer::new();
    let _short = start(shutdown.layer(takes(ms(50))), call()).await;
    let _long = start(shutdown.layer(takes(MINUTE)), call()).await;
    let expected = || Counts::calls(1, 1);
    assert_eq!(shut_down(&shutdown, ms(100), MINUTE).await, expected());
    let start = Instant::now();
    assert_eq!(shut_down(&shutdown, MINUTE, MINUTE).await, expected());
    assert_eq!(start.elapsed(), ms(0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn shortest_grace_of_concurrent_shutdowns_applies() {
    let shutdown = ShutdownLayer::new();
    let running = start(shutdown.layer(takes(MINUTE)), call()).await;
    let start = Instant::now();
    let (first, second) = tokio::join!(
        shut_down(&shutdown, ms(500), MINUTE),
        shut_down(&shutdown, ms(200), MINUTE),
    );
    assert_eq!((first, second), (Counts::calls(0, 1), Counts::calls(0, 1)));
    assert_eq!(start.elapsed(), ms(200));
    assert_eq!(failed(running).await.kind(), ErrorKind::Cancelled);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn dropped_shutdown_stays_closed_and_a_further_one_continues() {
    let shutdown = ShutdownLayer::new();
    let service = shutdown.layer(takes(MINUTE));
    let running = start(service.clone(), call()).await;
    let dropped = shutdown.shutdown(ms(500), MINUTE);
    assert!(tokio::time::timeout(ms(100), dropped).await.is_err());
    // The grace ends without a cancellation.
    tokio::time::sleep(ms(1_000)).await;
    assert_eq!(shutdown.in_flight(), 1);
    assert_eq!(
        error_of(service, call()).await.kind(),
        ErrorKind::Overloaded
    );
    assert_eq!(
        shut_down(&shutdown, ms(0), MINUTE).await,
        Counts::calls(0, 1)
    );
    assert_eq!(failed(running).await.kind(), ErrorKind::Cancelled);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn shutdown_dropped_after_the_cancellation_has_cancelled() {
    let shutdown = ShutdownLayer::new();
    let running = start(shutdown.layer(takes(MINUTE)), call()).await;
    let mut dropped = Box::pin(shutdown.shutdown(ms(0), MINUTE));
    assert!(futures_util::poll!(&mut dropped).is_pending());
    drop(dropped);
    assert_eq!(failed(running).await.kind(), ErrorKind::Cancelled);
    assert_eq!(
        shut_down(&shutdown, MINUTE, MINUTE).await,
        Counts::calls(0, 1)
    );
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn cancelled_call_returns_its_partial_result() {
    let shutdown = ShutdownLayer::new();
    let emits = ScriptedTool::new(async |call| {
        call.context().emit("half");
        std::future::pending().await
    });
    let stack = shutdown.layer(PartialResultLayer::new().layer(emits));
    let running = start(stack, call()).await;
    assert_eq!(
        shut_down(&shutdown, ms(0), MINUTE).await,
        Counts::calls(0, 1)
    );
    let error = failed(running).await;
    assert_eq!(support::kept(&error), (vec!["half"], 0, 0));
}

/// Calls on two threads race with the shutdown. Each ends in one of three ways, and each that was
/// in flight is counted.
#[test]
fn calls_that_race_with_a_shutdown_are_counted_or_rejected() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("a runtime");
    for round in 0..200 {
        runtime.block_on(async {
            let shutdown = ShutdownLayer::new();
            let tool = ScriptedTool::new(|_| async {
                tokio::task::yield_now().await;
                Ok(ToolOutput::text("done"))
            });
            let service = shutdown.layer(tool.handle());
            let callers: Vec<_> = (0..2)
                .map(|_| {
                    let service = service.clone();
                    tokio::spawn(async move {
                        loop {
                            match service.clone().oneshot(call()).await {
                                Ok(_) => {}
                                Err(error) => return error,
                            }
                        }
                    })
                })
                .collect();
            for _ in 0..round % 7 {
                tokio::task::yield_now().await;
            }
            let report = shut_down(&shutdown, MINUTE, MINUTE).await;
            assert!(report.calls.0 <= 2, "{report:?}");
            assert_eq!((report.calls.1, report.orphaned), (0, 0));
            assert_eq!(tool.probe().running(), 0);
            for caller in callers {
                let error = caller.await.expect("no panic");
                assert_eq!(error.kind(), ErrorKind::Overloaded);
            }
            assert_eq!(shutdown.in_flight(), 0);
        });
    }
}
