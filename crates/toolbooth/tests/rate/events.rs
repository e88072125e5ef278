//! The events of waits for tokens.

use super::support::events::EventLines;
use super::*;

#[tokio::test(start_paused = true)]
async fn call_that_waits_for_a_token_is_queued_and_then_admitted() {
    let events = EventLines::new();
    let rate = RateLimitLayer::new(per_second(10, 1)).with_name("search rate");
    let tool = events.layer().layer(rate.layer(ScriptedTool::ready()));
    let calls = ["a", "b", "c"].map(|id| call().with_id(id));
    let calls = call_all(tool, calls).await;
    assert!(calls.iter().all(support::Finished::is_ok));

    assert_eq!(
        events.take(),
        [
            "0 a tool.invoked",
            "0 a tool.started",
            "0 a tool.completed",
            "0 b tool.invoked",
            "0 b tool.queued search rate",
            "0 c tool.invoked",
            "0 c tool.queued search rate",
            "100 b tool.admitted search rate 100",
            "100 b tool.started",
            "100 b tool.completed",
            "200 c tool.admitted search rate 200",
            "200 c tool.started",
            "200 c tool.completed",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn call_that_cannot_have_a_token_in_time_is_not_queued() {
    let events = EventLines::new();
    let rate = RateLimitLayer::new(per_second(10, 1)).with_max_wait(ms(99));
    let tool = events.layer().layer(rate.layer(ScriptedTool::ready()));
    let calls = ["a", "b"].map(|id| call().with_id(id));
    let calls = call_all(tool, calls).await;
    assert_eq!(calls.iter().filter(|call| call.is_ok()).count(), 1);

    assert_eq!(
        events.take()[3..],
        ["0 b tool.invoked", "0 b tool.rejected rate_limited"]
    );
}
