//! The events of hooks, whatever runs them.

use toolbooth::{RetryPolicy, ShutdownLayer, ToolCall};
use tower::retry::RetryLayer;
use tower::{Layer, ServiceExt};

use super::support::events::EventLines;
use super::*;

/// A call with hooks: one that takes 10 ms, one that panics after 5 ms, and one that never ends.
fn call_with_hooks() -> ToolCall {
    let call = call().with_id("call");
    let context = call.context();
    context.on_cleanup(|_| tokio::time::sleep(ms(10)));
    context.on_cleanup(|_| async {
        tokio::time::sleep(ms(5)).await;
        unreachable!("a hook");
    });
    context.on_cleanup(|_| std::future::pending());
    call
}

/// What is reported of them, if each may take 100 ms.
const CLEANUP: [&str; 4] = [
    "0 call cleanup.started 3",
    "100 call cleanup.failed 100 panicked=false",
    "105 call cleanup.failed 5 panicked=true",
    "115 call cleanup.finished 10",
];

fn cleanup_lines(events: &EventLines) -> Vec<String> {
    let mut lines = events.take();
    lines.retain(|line| line.contains("cleanup."));
    lines
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn each_hook_of_a_cleanup_layer_is_reported() {
    let events = EventLines::new();
    let cleanup = CleanupLayer::new().with_hook_limit(ms(100));
    let service = events.layer().layer(cleanup.layer(ScriptedTool::ready()));
    text_of(service, call_with_hooks()).await;
    assert_eq!(counts(cleanup.drain(MINUTE).await), (1, 2, 0, 0));
    let lines = events.take();
    assert_eq!(lines[2], "0 call tool.completed");
    assert_eq!(lines[3..], CLEANUP);
}

/// The events layer is inside, so that its call has ended before.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn hooks_are_reported_to_an_events_layer_inside_too() {
    let events = EventLines::new();
    let cleanup = CleanupLayer::new().with_hook_limit(ms(100));
    let service = cleanup.layer(events.layer().layer(ScriptedTool::ready()));
    text_of(service, call_with_hooks()).await;
    cleanup.drain(MINUTE).await;
    assert_eq!(cleanup_lines(&events), CLEANUP);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn hooks_that_the_caller_waits_for_are_reported_before_the_response_returns() {
    let events = EventLines::new();
    let cleanup = CleanupLayer::new()
        .with_hook_limit(ms(100))
        .with_wait(MINUTE);
    let service = events.layer().layer(cleanup.layer(ScriptedTool::ready()));
    text_of(service, call_with_hooks()).await;
    let lines = events.take();
    assert_eq!(lines[2..6], CLEANUP);
    assert_eq!(lines[6..], ["115 call tool.completed"]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn hooks_that_a_shutdown_layer_runs_are_reported() {
    let events = EventLines::new();
    let shutdown = ShutdownLayer::new();
    let service = shutdown.layer(events.layer().layer(ScriptedTool::ready()));
    text_of(service, call_with_hooks()).await;
    shutdown.shutdown(MINUTE, MINUTE).await;
    assert_eq!(
        cleanup_lines(&events),
        [
            "0 call cleanup.started 3",
            "5000 call cleanup.failed 5000 panicked=false",
            "5005 call cleanup.failed 5 panicked=true",
            "5015 call cleanup.finished 10",
        ]
    );
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn hooks_of_a_call_without_a_cleanup_layer_are_reported() {
    let events = EventLines::new();
    let late = ScriptedTool::new(|call: ToolCall| async move {
        let context = call.context().clone();
        context.on_cleanup(|_| tokio::time::sleep(ms(10)));
        tokio::spawn(async move {
            tokio::time::sleep(ms(50)).await;
            // The call has ended: it runs at once.
            context.on_cleanup(|_| tokio::time::sleep(ms(20)));
        });
        Ok(toolbooth::ToolOutput::text("done"))
    });
    text_of(events.layer().layer(late), call().with_id("call")).await;
    tokio::time::sleep(ms(100)).await;
    assert_eq!(
        cleanup_lines(&events),
        [
            "0 call cleanup.started 1",
            "10 call cleanup.finished 10",
            "50 call cleanup.started 1",
            "70 call cleanup.finished 20",
        ]
    );
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn abandoned_hooks_are_reported() {
    let events = EventLines::new();
    let cleanup = CleanupLayer::new();
    let service = events.layer().layer(cleanup.layer(ScriptedTool::ready()));
    text_of(service, call_with_hooks()).await;
    assert_eq!(counts(cleanup.drain(ms(200)).await), (0, 0, 3, 0));
    assert_eq!(
        cleanup_lines(&events),
        ["0 call cleanup.started 3", "200 call cleanup.abandoned 3"]
    );
}

#[test]
fn hooks_without_a_runtime_are_reported_as_abandoned() {
    let events = EventLines::new();
    let service = events
        .layer()
        .layer(CleanupLayer::new().layer(ScriptedTool::ready()));
    let call = call_with_hooks();
    let response = futures_util::FutureExt::now_or_never(service.oneshot(call));
    assert!(response.is_some_and(|response| response.is_ok()));
    assert_eq!(cleanup_lines(&events), ["0 call cleanup.abandoned 3"]);
}

/// Without a cleanup layer inside of the retry.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn hooks_of_all_attempts_are_reported_at_the_end_of_the_call() {
    let events = EventLines::new();
    let cleanup = CleanupLayer::new();
    let tool = ScriptedTool::new(|call: ToolCall| {
        call.context().on_cleanup(|_| tokio::time::sleep(ms(1)));
        std::future::ready(Err("down".into()))
    });
    let policy = RetryPolicy::new(3).with_idempotent(true);
    let policy = policy.with_backoff(Duration::ZERO, Duration::ZERO);
    let service = RetryLayer::new(policy).layer(tool);
    let service = events.layer().layer(cleanup.layer(service));
    error_of(service, call().with_id("call")).await;
    assert_eq!(counts(cleanup.drain(MINUTE).await), (3, 0, 0, 0));
    assert_eq!(
        cleanup_lines(&events),
        [
            "0 call cleanup.started 3",
            "1 call cleanup.finished 1",
            "2 call cleanup.finished 1",
            "3 call cleanup.finished 1",
        ]
    );
}
