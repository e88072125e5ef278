//! Which calls are rejected, complete, or are cancelled, and when.

use toolbooth::{ConcurrencyLimitLayer, ErrorKind, TimeoutLayer, tool_fn};

use super::support::events::EventLines;
use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn new_call_is_rejected_from_the_first_poll_of_a_shutdown() {
    let shutdown = ShutdownLayer::new();
    let tool = ScriptedTool::ready();
    let service = shutdown.layer(tool.handle());
    let future = shutdown.shutdown(SECOND, SECOND);
    assert!(!shutdown.is_shutting_down());
    assert_eq!(text_of(service.clone(), call()).await, "done");
    assert_eq!(Counts::from(future.await), Counts::calls(0, 0));
    assert!(shutdown.is_shutting_down());
    assert_rejected(&error_of(service, call()).await, SECOND * 5);
    assert_eq!(tool.probe().started(), 1);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn cancelled_and_rejected_calls_have_one_terminal_event() {
    let (events, shutdown) = (EventLines::new(), ShutdownLayer::new());
    let limit = ConcurrencyLimitLayer::new(1);
    let service = shutdown.layer(limit.layer(ScriptedTool::pending()));
    let service = events.layer().layer(service);
    let runs = start(service.clone(), call().with_id("runs")).await;
    let waits = start(service.clone(), call().with_id("waits")).await;
    assert_eq!(shut_down(&shutdown, ms(50), SECOND).await.calls, (0, 2));
    failed(runs).await;
    failed(waits).await;
    error_of(service, call().with_id("late")).await;
    assert_eq!(
        events.take(),
        [
            "0 runs tool.invoked",
            "0 runs tool.started",
            "0 waits tool.invoked",
            "0 waits tool.queued concurrency",
            "50 runs tool.cancelled started=true",
            "50 waits tool.cancelled started=false",
            "50 late tool.invoked",
            "50 late tool.rejected overloaded",
        ]
    );
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn time_to_retry_is_that_of_the_layer_value() {
    let shutdown = ShutdownLayer::new();
    let other = shutdown.clone().with_retry_after(ms(1_500));
    shut_down(&shutdown, SECOND, SECOND).await;
    let rejected = error_of(shutdown.layer(ScriptedTool::ready()), call()).await;
    assert_rejected(&rejected, SECOND * 5);
    let rejected = error_of(other.layer(ScriptedTool::ready()), call()).await;
    assert_rejected(&rejected, ms(1_500));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn shutdown_ends_with_the_last_call_of_the_grace() {
    let shutdown = ShutdownLayer::new();
    let begun = Instant::now();
    let calls = [(takes(ms(300)), true), (fails("no"), false)];
    let mut running = Vec::new();
    for (tool, succeeds) in calls {
        running.push((start(shutdown.layer(tool), call()).await, succeeds));
    }
    let timeout = TimeoutLayer::new(ms(400));
    let expires = shutdown.layer(timeout.layer(ScriptedTool::pending()));
    running.push((start(expires, call()).await, false));
    let dropped = start(shutdown.layer(ScriptedTool::pending()), call()).await;
    assert_eq!(shutdown.in_flight(), 3, "one has failed");
    tokio::spawn(async move {
        tokio::time::sleep(ms(100)).await;
        dropped.abort();
    });
    let report = shut_down(&shutdown, SECOND, SECOND).await;
    assert_eq!(report, Counts::calls(3, 0));
    assert_eq!((begun.elapsed(), shutdown.in_flight()), (ms(400), 0));
    for (running, succeeds) in running {
        assert_eq!(running.await.expect("no panic").is_ok(), succeeds);
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn running_waiting_and_unready_calls_are_cancelled_after_the_grace() {
    let shutdown = ShutdownLayer::new();
    let limit = ConcurrencyLimitLayer::new(1);
    let tool = ScriptedTool::pending();
    let service = shutdown.layer(limit.layer(tool.handle()));
    let unready = ScriptedTool::ready().with_readiness(support::Readiness::Pending);
    let begun = Instant::now();
    let (first, second) = (call(), call());
    let outcomes = [
        Outcomes::of(first.context()),
        Outcomes::of(second.context()),
    ];
    let context = first.context().clone();
    let running = [
        start(service.clone(), first).await,
        start(service.clone(), second).await,
        start(shutdown.layer(unready), call()).await,
    ];
    assert_eq!((shutdown.in_flight(), limit.queued()), (3, 1));
    let report = shut_down(&shutdown, SECOND, SECOND).await;
    assert_eq!(report, Counts::calls(0, 3).with_hooks(2, 0, 0));
    assert_eq!(begun.elapsed(), SECOND);
    for running in running {
        let error = failed(running).await;
        assert_eq!(cancel_reason(&error), Some(CancelReason::Shutdown));
        assert!(!error.is_retryable());
    }
    assert_eq!(context.cancel_reason(), Some(CancelReason::Shutdown));
    for outcomes in outcomes {
        assert_eq!(outcomes.all().await, [Outcome::Cancelled]);
    }
    assert_eq!((tool.probe().started(), tool.probe().running()), (1, 0));
    assert_eq!((limit.in_flight(), limit.queued()), (0, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn grace_of_zero_cancels_at_once() {
    let shutdown = ShutdownLayer::new();
    let begun = Instant::now();
    let running = start(shutdown.layer(takes(ms(1))), call()).await;
    let report = shut_down(&shutdown, Duration::ZERO, SECOND).await;
    assert_eq!(report, Counts::calls(0, 1));
    assert_eq!(begun.elapsed(), ms(0));
    let error = failed(running).await;
    assert_eq!(cancel_reason(&error), Some(CancelReason::Shutdown));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn response_that_is_ready_at_the_end_of_the_grace_counts() {
    let shutdown = ShutdownLayer::new();
    let mut future = tokio_test::task::spawn(shutdown.layer(takes(SECOND)).oneshot(call()));
    assert!(future.poll().is_pending());
    let ended = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { shut_down(&shutdown, SECOND, SECOND).await }
    });
    pass(SECOND).await;
    assert!(future.is_woken());
    let std::task::Poll::Ready(response) = future.poll() else {
        unreachable!("it is ready")
    };
    assert_eq!(support::text(response).await, "done");
    assert_eq!(ended.await.expect("no panic"), Counts::calls(1, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn error_that_is_ready_at_the_end_of_the_grace_is_returned() {
    let shutdown = ShutdownLayer::new();
    let tool = tool_fn("fails", async |(): ()| {
        tokio::time::sleep(SECOND).await;
        Err::<(), _>(std::io::Error::other("disk full"))
    });
    let mut future = tokio_test::task::spawn(shutdown.layer(tool).oneshot(call()));
    assert!(future.poll().is_pending());
    let ended = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { shut_down(&shutdown, SECOND, SECOND).await }
    });
    pass(SECOND).await;
    let std::task::Poll::Ready(Err(failed)) = future.poll() else {
        unreachable!("it is ready")
    };
    assert_eq!(failed.kind(), ErrorKind::Tool);
    assert_eq!(ended.await.expect("no panic"), Counts::calls(1, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn grace_and_limit_may_be_endless() {
    let shutdown = ShutdownLayer::new();
    let _running = start(shutdown.layer(takes(MINUTE)), call()).await;
    let begun = Instant::now();
    let report = shut_down(&shutdown, Duration::MAX, Duration::MAX).await;
    assert_eq!(report, Counts::calls(1, 0));
    assert_eq!(begun.elapsed(), MINUTE);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn call_that_no_task_polls_is_orphaned_at_the_limit() {
    let shutdown = ShutdownLayer::new();
    let mut future =
        tokio_test::task::spawn(shutdown.layer(ScriptedTool::pending()).oneshot(call()));
    assert!(future.poll().is_pending());
    let begun = Instant::now();
    let report = shut_down(&shutdown, ms(100), ms(200)).await;
    assert_eq!(report, Counts::calls(0, 0).with_orphaned(1));
    assert_eq!(begun.elapsed(), ms(310));
    // It was notified, and ends when it is polled.
    assert!(future.is_woken());
    assert!(future.poll().is_ready());
    assert_eq!(
        shut_down(&shutdown, ms(0), ms(0)).await,
        Counts::calls(0, 1)
    );
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn call_that_moves_to_another_task_is_woken_there() {
    let shutdown = ShutdownLayer::new();
    let service = shutdown.layer(ScriptedTool::pending());
    let mut future = Box::pin(service.oneshot(call()));
    assert!(futures_util::poll!(&mut future).is_pending());
    let running = tokio::spawn(future);
    tokio::task::yield_now().await;
    let report = shut_down(&shutdown, ms(100), SECOND).await;
    assert_eq!(report, Counts::calls(0, 1));
    assert_eq!(failed(running).await.kind(), ErrorKind::Cancelled);
}

/// A tool that always yields is never pending on anything else.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn call_that_never_waits_but_yields_is_cancelled() {
    let shutdown = ShutdownLayer::new();
    let busy = ScriptedTool::new(|_| async {
        loop {
            tokio::task::yield_now().await;
        }
    });
    let running = start(shutdown.layer(busy), call()).await;
    let report = shut_down(&shutdown, ms(0), SECOND).await;
    assert_eq!(report, Counts::calls(0, 1));
    assert_eq!(failed(running).await.kind(), ErrorKind::Cancelled);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn layer_that_is_off_admits_all_calls() {
    let off = ShutdownLayer::off();
    let service = off.layer(takes(ms(10)));
    let running = start(service.clone(), call()).await;
    assert_eq!(shut_down(&off, ms(0), ms(0)).await, Counts::calls(0, 0));
    assert_eq!((off.is_shutting_down(), off.in_flight()), (false, 0));
    assert!(running.await.expect("no panic").is_ok());
    assert_eq!(text_of(service, call()).await, "done");
}
