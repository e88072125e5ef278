//! The events of calls that share a response.

use super::support::events::EventLines;
use super::*;

#[tokio::test(start_paused = true)]
async fn call_that_shares_a_response_is_not_started() {
    let events = EventLines::new();
    let stack = events
        .layer()
        .layer(IdempotencyLayer::new().layer(counts()));
    let runs = text_of(stack.clone(), keyed("a", 1).with_id("runs"));
    let waits = text_of(stack.clone(), keyed("a", 1).with_id("waits"));
    assert_eq!(tokio::join!(runs, waits).1, "run 1");
    let later = text_of(stack, keyed("a", 1).with_id("later")).await;
    assert_eq!(later, "run 1");

    assert_eq!(
        events.take(),
        [
            "0 runs tool.invoked",
            "0 runs tool.started",
            "0 waits tool.invoked",
            "0 waits tool.queued idempotency",
            "10 runs tool.completed",
            "10 waits tool.completed",
            "10 later tool.invoked",
            "10 later tool.completed",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn call_that_runs_after_a_failure_is_admitted_and_started() {
    let events = EventLines::new();
    let layer = IdempotencyLayer::new();
    let fails = ScriptedTool::new(|_| async {
        sleep(ms(10)).await;
        Err::<ToolOutput, BoxError>("down".into())
    });
    let failing = layer.layer(fails);
    let waiting = events.layer().layer(layer.layer(counts()));
    let runs = error_of(failing, keyed("a", 1));
    let waits = text_of(waiting, keyed("a", 1).with_id("waits"));
    assert_eq!(tokio::join!(runs, waits).1, "run 1");

    assert_eq!(
        events.take(),
        [
            "0 waits tool.invoked",
            "0 waits tool.queued idempotency",
            "10 waits tool.admitted idempotency 10",
            "10 waits tool.started",
            "20 waits tool.completed",
        ]
    );
}
