//! `CallGroup`: several calls under one deadline.

#![cfg(feature = "group")]

#[path = "../support/mod.rs"]
mod support;

mod cancels;
mod deadlines;
mod nested;
mod streams;

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::json;
use support::{Outcomes, Recorder, ScriptedTool, call, ms, texts};
use tokio::time::{Instant, sleep};
use toolbooth::group::{CallGroup, GroupError};
use toolbooth::{
    CancelReason, Collected, Outcome, OverloadReason, ToolCall, ToolError, ToolOutput,
};
use toolbooth_test::cancel_reason;

type Result<T = Collected, E = ToolError> = std::result::Result<T, E>;

/// A call of [`sleeper`] that takes this time.
fn sleeps(millis: u64) -> ToolCall {
    ToolCall::new("sleeps", json!(millis))
}

/// A tool that emits `begun` and sleeps for its argument. An odd time is a failure.
fn sleeper() -> ScriptedTool {
    ScriptedTool::new(|call| async move {
        call.context().emit("begun");
        let millis = call.args().as_u64().unwrap_or(0);
        sleep(ms(millis)).await;
        match millis % 2 {
            0 => Ok(ToolOutput::text(format!("{millis}"))),
            _ => Err(format!("failed after {millis}").into()),
        }
    })
}

/// The text of a response, otherwise the kind of the error.
fn brief(outcome: &Result) -> String {
    match outcome {
        Ok(response) => response.text(),
        Err(error) => error.kind().to_string(),
    }
}

fn briefs(outcomes: &[Result]) -> Vec<String> {
    outcomes.iter().map(brief).collect()
}

/// The texts of the partial result of an error.
fn partial(outcome: &Result) -> Vec<&str> {
    let partial = outcome.as_ref().err().and_then(ToolError::partial);
    partial.map_or_else(Vec::new, |partial| texts(partial.contents()))
}

#[tokio::test(start_paused = true)]
async fn outcomes_of_all_calls_are_in_the_order_of_the_calls() {
    let started = Instant::now();
    let calls = [30, 11, 20, 0].map(sleeps);
    let outcomes = CallGroup::new().all(sleeper(), calls).await;
    assert_eq!(started.elapsed(), ms(30));
    assert_eq!(briefs(&outcomes), ["30", "tool_error", "20", "0"]);
    let failed = outcomes[1].as_ref().unwrap_err();
    assert_eq!((failed.tool(), failed.started()), (Some("sleeps"), true));
    assert_eq!(partial(&outcomes[1]), ["begun"]);
}

#[tokio::test(start_paused = true)]
async fn group_without_calls_ends_at_once() {
    let none: [ToolCall; 0] = [];
    assert!(CallGroup::new().all(sleeper(), none).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn stream_returns_outcomes_as_they_come() {
    let started = Instant::now();
    let calls = [30, 10, 21].map(sleeps);
    let mut outcomes = CallGroup::new().outcomes(sleeper(), calls);
    assert_eq!(outcomes.remaining(), 3);
    let mut ends = Vec::new();
    while let Some((index, outcome)) = outcomes.next().await {
        let at = started.elapsed().as_millis();
        ends.push((at, index, brief(&outcome), outcomes.remaining()));
    }
    let expected = [(10, 1, "10", 2), (21, 2, "tool_error", 1), (30, 0, "30", 0)];
    let expected = expected.map(|(at, index, brief, left)| (at, index, brief.to_owned(), left));
    assert_eq!(ends, expected);
}

#[tokio::test(start_paused = true)]
async fn calls_start_in_their_order_and_at_most_n_run() {
    let tool = sleeper();
    let started = Instant::now();
    let group = CallGroup::new().with_concurrency(2);
    let mut outcomes = group.outcomes(tool.clone(), [30, 10, 10, 10].map(sleeps));
    let mut ends = Vec::new();
    while let Some((index, _)) = outcomes.next().await {
        ends.push((index, started.elapsed().as_millis()));
    }
    // The second place is taken by the calls 1, 2 and 3, one after the other.
    assert_eq!(ends[..2], [(1, 10), (2, 20)]);
    ends[2..].sort_unstable();
    assert_eq!(ends[2..], [(0, 30), (3, 30)]);
    assert_eq!((tool.probe().max(), tool.probe().finished()), (2, 4));
}

#[tokio::test(start_paused = true)]
async fn concurrency_of_0_rejects_every_call() {
    let tool = sleeper();
    let group = CallGroup::new().with_concurrency(0);
    let outcomes = group.all(tool.clone(), [10, 20].map(sleeps)).await;
    for outcome in outcomes {
        let error = outcome.unwrap_err();
        let reason = toolbooth_test::overload_reason(&error);
        assert_eq!(reason, Some(OverloadReason::Closed));
        assert_eq!((error.layer(), error.started()), (Some("group"), false));
    }
    assert_eq!(tool.probe().started(), 0);
}

#[tokio::test(start_paused = true)]
async fn call_waits_for_the_readiness_of_the_service() {
    let tool = sleeper().with_readiness(support::Readiness::Pending);
    let group = CallGroup::new().with_timeout(ms(100));
    let mut outcomes = group.outcomes(tool.clone(), [10, 10].map(sleeps));
    assert!(futures_util::poll!(outcomes.next()).is_pending());
    assert_eq!(tool.probe().started(), 0);
    tool.set_readiness(support::Readiness::Ready);
    assert_eq!(
        outcomes.next().await.map(|(_, ended)| brief(&ended)),
        Some("10".into())
    );
    assert_eq!(
        outcomes.next().await.map(|(_, ended)| brief(&ended)),
        Some("10".into())
    );
}

#[tokio::test(start_paused = true)]
async fn panic_of_a_tool_unwinds_through_the_group_or_is_the_error_of_its_call() {
    use tower::Layer;

    let calls = || [call(), call()];
    let all = tokio::spawn(CallGroup::new().all(ScriptedTool::panics_in_future(), calls()));
    assert!(all.await.unwrap_err().is_panic());

    let caught = toolbooth::CatchPanicLayer::new().layer(ScriptedTool::panics_in_future());
    let outcomes = CallGroup::new().all(caught, calls()).await;
    assert_eq!(briefs(&outcomes), ["panicked", "panicked"]);
}
