//! Shutdown by the cleanup layer.

use tokio::time::sleep;
use toolbooth::{ErrorKind, Outcome};

use super::*;

/// Case E1. In HTTP the rejection is a 503 with a time to retry.
#[tokio::test(start_paused = true)]
async fn closed_cleanup_layer_rejects_new_calls_in_every_order() {
    for order in Kind::stacks() {
        if !order.contains(&Kind::Cleanup) {
            continue;
        }
        let case = format!("{order:?}");
        let (layers, inside, hooks) = (Layers::new(1), Probe::new(), Recorder::new());
        let stack = layers.stack(&order, hanging(&inside));
        assert!(!layers.cleanup.is_closed(), "{case}");
        layers.cleanup.clone().close();
        assert!(layers.cleanup.is_closed(), "{case}");
        let call = call();
        call.context().on_cleanup(hooks.hook());
        let error = stack.oneshot(call).await.unwrap_err();
        assert_eq!(error.status(), 503, "{case}");
        assert_eq!(error.retry_after_seconds(), Some(5), "{case}");
        assert!(error.is_retryable(), "{case}");
        assert_eq!(layers.limit.available(), 1, "{case}");
        // The hook of the caller runs and is counted.
        let report = layers.cleanup.drain(MINUTE).await;
        assert_eq!(
            (report.ran, report.failed, report.abandoned),
            (1, 0, 0),
            "{case}"
        );
        assert_eq!(
            (hooks.values(), inside.started()),
            (vec![Outcome::Rejected], 0),
            "{case}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn rejection_of_a_closed_layer_has_the_time_that_was_set() {
    let cleanup = CleanupLayer::new().with_retry_after(ms(30_001));
    let tool = cleanup.layer(tool(|_| async { Ok("done") }));
    cleanup.close();
    let error = tool.oneshot(call()).await.unwrap_err();
    assert_eq!(error.retry_after_seconds(), Some(31));
}

#[tokio::test(start_paused = true)]
async fn running_calls_continue_and_drain_waits_for_their_hooks() {
    let (layers, hooks) = (Layers::new(1), Recorder::new());
    let stack = layers.stack(
        &Kind::ALL,
        tool(|_| async {
            sleep(ms(100)).await;
            Ok("done")
        }),
    );
    let first = call();
    first.context().on_cleanup(hooks.hook());
    let first = tokio::spawn(stack.clone().oneshot(first));
    sleep(ms(50)).await;
    layers.cleanup.close();
    assert!(stack.oneshot(call()).await.is_err());
    let output = first.await.unwrap().unwrap();
    assert_eq!(output.collect().await.unwrap().text(), "done");
    let report = layers.cleanup.drain(MINUTE).await;
    assert_eq!((report.ran, report.abandoned, report.orphaned), (1, 0, 0));
    assert_eq!(hooks.values(), [Outcome::Completed]);
}

#[tokio::test(start_paused = true)]
async fn layer_that_is_off_rejects_no_call() {
    let off = CleanupLayer::off();
    off.close();
    assert!(!off.is_closed());
    assert!(
        off.layer(tool(|_| async { Ok("done") }))
            .oneshot(call())
            .await
            .is_ok()
    );
}

/// Case E1b. The tool of a call in flight makes nested calls through the layer, after the close.
#[tokio::test(start_paused = true)]
async fn nested_calls_of_a_running_call_pass_the_closed_layer_in_every_order() {
    for order in Kind::stacks() {
        if !order.contains(&Kind::Cleanup) {
            continue;
        }
        let case = format!("{order:?}");
        let layers = Layers::new(1);
        let inner = layers.stack(&order, tool(|_| async { Ok("done") }));
        let nested = inner.clone();
        let outer = tool(move |context| {
            let nested = nested.clone();
            async move {
                sleep(ms(100)).await;
                for _ in 0..2 {
                    let child = context.child("tool", json!(null))?;
                    nested.clone().oneshot(child).await?;
                }
                Ok("both")
            }
        });
        let running = tokio::spawn(layers.stack(&order, outer).oneshot(call()));
        sleep(ms(50)).await;
        layers.cleanup.close();
        let rejected = inner.clone().oneshot(call()).await.unwrap_err();
        assert!(rejected.is_retryable(), "{case}");
        let output = running.await.unwrap().unwrap();
        assert_eq!(output.collect().await.unwrap().text(), "both", "{case}");
        let rejected = inner.oneshot(call()).await.unwrap_err();
        assert_eq!(rejected.kind(), ErrorKind::Overloaded, "{case}");
        layers.assert_released(&case);
    }
}
