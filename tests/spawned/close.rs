//! Shutdown by the cleanup layer.

use tokio::time::sleep;
use toolbooth::{CancelReason, Outcome};

use super::*;

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
        assert_eq!(
            cancel_reason(&error),
            Some(CancelReason::Shutdown),
            "{case}"
        );
        assert!(!error.is_retryable(), "{case}");
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
            (vec![Outcome::Cancelled], 0),
            "{case}"
        );
    }
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
