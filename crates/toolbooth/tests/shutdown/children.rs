//! Calls that a call in flight makes belong to it, and attempts end with it.

use serde_json::json;
use toolbooth::CleanupLayer;
use toolbooth_test::{BoxTool, boxed};

use super::*;

/// A tool that makes a nested call of `inner` after `wait`.
fn forwards(wait: Duration, inner: BoxTool) -> ScriptedTool {
    ScriptedTool::new(move |call| {
        let inner = inner.clone();
        async move {
            tokio::time::sleep(wait).await;
            let child = call.context().child("inner", json!(null))?;
            Ok(inner.oneshot(child).await?)
        }
    })
}

/// Case E1b. A call that has begun makes its nested calls through the closed layer.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn nested_call_of_a_call_in_flight_passes_and_is_not_counted() {
    let shutdown = ShutdownLayer::new();
    let inner = boxed(shutdown.layer(takes(ms(100))));
    let service = shutdown.layer(forwards(ms(100), inner.clone()));
    let running = start(service, call()).await;
    let ended = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { shut_down(&shutdown, MINUTE, MINUTE).await }
    });
    tokio::time::sleep(ms(150)).await;
    assert_eq!(shutdown.in_flight(), 1);
    assert_eq!(error_of(inner, call()).await.kind(), ErrorKind::Overloaded);
    assert_eq!(
        support::text(running.await.expect("no panic")).await,
        "done"
    );
    assert_eq!(ended.await.expect("no panic"), Counts::calls(1, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn nested_call_of_a_call_outside_is_rejected() {
    let shutdown = ShutdownLayer::new();
    let inner = boxed(shutdown.layer(ScriptedTool::ready()));
    let other = ShutdownLayer::new();
    let running = start(other.layer(forwards(ms(100), inner)), call()).await;
    shut_down(&shutdown, ms(0), ms(0)).await;
    let error = failed(running).await;
    assert_eq!(error.kind(), ErrorKind::Tool);
    assert_eq!(other.in_flight(), 0);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn nested_call_is_cancelled_with_its_parent() {
    let shutdown = ShutdownLayer::new();
    let tool = ScriptedTool::pending();
    let inner = boxed(shutdown.layer(tool.handle()));
    let running = start(shutdown.layer(forwards(ms(0), inner)), call()).await;
    assert_eq!(
        shut_down(&shutdown, ms(100), MINUTE).await,
        Counts::calls(0, 1)
    );
    let reason = cancel_reason(&failed(running).await);
    assert_eq!(reason, Some(CancelReason::Shutdown));
    assert_eq!((tool.probe().started(), tool.probe().running()), (1, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn one_layer_twice_around_a_tool_counts_a_call_once() {
    let shutdown = ShutdownLayer::new();
    let between = CleanupLayer::new();
    let twice = shutdown.layer(between.layer(shutdown.layer(takes(ms(100)))));
    let running = start(twice.clone(), call()).await;
    assert_eq!(shutdown.in_flight(), 1);
    assert_eq!(
        shut_down(&shutdown, MINUTE, MINUTE).await,
        Counts::calls(1, 0)
    );
    assert!(running.await.expect("no panic").is_ok());
    assert_eq!(error_of(twice, call()).await.kind(), ErrorKind::Overloaded);
}

#[cfg(feature = "retry")]
mod retries {
    use toolbooth::RetryPolicy;
    use tower::retry::RetryLayer;

    use super::*;

    fn retry() -> RetryLayer<RetryPolicy> {
        let policy = RetryPolicy::new(99).with_backoff(ms(0), ms(0));
        RetryLayer::new(policy.without_budget())
    }

    /// A tool that fails after 60 ms.
    fn failing(starts: &Recorder<()>) -> ScriptedTool {
        let starts = starts.clone();
        ScriptedTool::new(move |_| {
            starts.record(());
            async {
                tokio::time::sleep(ms(60)).await;
                Err(ToolError::failed("not yet").with_retryable(true).into())
            }
        })
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn call_is_retried_within_the_grace_and_never_after_it() {
        let shutdown = ShutdownLayer::new();
        let attempts = Recorder::new();
        let service = shutdown.layer(retry().layer(failing(&attempts)));
        let running = start(service, call().with_idempotent(true)).await;
        let report = shut_down(&shutdown, ms(250), MINUTE).await;
        assert_eq!(report, Counts::calls(0, 1));
        assert_eq!(attempts.times(), [0, 60, 120, 180, 240].map(ms));
        let reason = cancel_reason(&failed(running).await);
        assert_eq!(reason, Some(CancelReason::Shutdown));
        tokio::time::sleep(MINUTE).await;
        assert_eq!(attempts.len(), 5);
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn attempt_that_is_rejected_by_the_shutdown_is_the_last_one() {
        let shutdown = ShutdownLayer::new();
        let attempts = Recorder::new();
        let service = retry().layer(shutdown.layer(failing(&attempts)));
        let running = start(service, call().with_idempotent(true)).await;
        let begun = Instant::now();
        let report = shut_down(&shutdown, ms(100), MINUTE).await;
        assert_eq!(report, Counts::calls(1, 0));
        assert_rejected(&failed(running).await, Duration::from_secs(5));
        assert_eq!((begun.elapsed(), attempts.len()), (ms(60), 1));
    }
}
