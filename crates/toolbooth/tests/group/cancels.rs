//! What ends calls before their group's deadline: enough successes, a failure, the caller.

use tower::Layer;

use super::support::events::EventLines;
use super::*;

/// A call whose hooks record the outcome under its time.
fn recorded(ended: &Recorder<(u64, Outcome)>, millis: u64) -> ToolCall {
    let call = sleeps(millis);
    call.context().on_cleanup(ended.hook_for(millis));
    call
}

#[track_caller]
fn assert_cancelled(outcome: &Result, started: bool) {
    let error = outcome.as_ref().expect_err("it is cancelled");
    assert_eq!(cancel_reason(error), Some(CancelReason::Explicit));
    assert_eq!((error.layer(), error.started()), (Some("group"), started));
    assert_eq!(partial(outcome).len(), usize::from(started));
}

#[tokio::test(start_paused = true)]
async fn first_success_ends_the_group_and_cancels_the_others() {
    let (tool, ended) = (sleeper(), Recorder::new());
    let started = Instant::now();
    let calls = [50, 5, 20, 40].map(|millis| recorded(&ended, millis));
    let (index, response) = CallGroup::new()
        .first_ok(tool.clone(), calls)
        .await
        .unwrap();
    assert_eq!(started.elapsed(), ms(20));
    assert_eq!((index, response.text()), (2, "20".to_owned()));
    assert_eq!(tool.probe().running(), 0);
    sleep(ms(1)).await;
    let mut outcomes = ended.values();
    outcomes.sort_by_key(|(millis, _)| *millis);
    let (failed, cancelled) = (Outcome::Failed, Outcome::Cancelled);
    let expected = [
        (5, failed),
        (20, Outcome::Completed),
        (40, cancelled),
        (50, cancelled),
    ];
    assert_eq!(outcomes, expected);
}

#[tokio::test(start_paused = true)]
async fn each_call_of_a_group_has_one_terminal_event_and_starts_with_its_tool() {
    let events = EventLines::new();
    let tool = events.layer().layer(sleeper());
    let calls = ["a", "b", "c"].into_iter().zip([11, 20, 30]);
    let calls = calls.map(|(id, millis)| sleeps(millis).with_id(id));
    let group = CallGroup::new().with_concurrency(2);
    let (index, _) = group.first_ok(tool, calls).await.unwrap();
    assert_eq!(index, 1);
    sleep(ms(1)).await;
    assert_eq!(
        events.take(),
        [
            "0 a tool.invoked",
            "0 a tool.started",
            "0 b tool.invoked",
            "0 b tool.started",
            "0 a tool.first_item",
            "0 a tool.partial",
            "0 b tool.first_item",
            "0 b tool.partial",
            "11 a tool.failed",
            "11 c tool.invoked",
            "11 c tool.started",
            "11 c tool.first_item",
            "11 c tool.partial",
            "20 b tool.completed",
            "20 c tool.cancelled started=true",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn all_errors_are_returned_if_none_succeeds() {
    let calls = [31, 11].map(sleeps);
    let error = CallGroup::new()
        .first_ok(sleeper(), calls)
        .await
        .unwrap_err();
    assert_eq!(briefs(error.outcomes()), ["tool_error", "tool_error"]);
    assert_eq!(
        error.to_string(),
        "0 of 2 calls succeeded, and the quorum is 1"
    );

    let none: [ToolCall; 0] = [];
    let error = CallGroup::new()
        .first_ok(sleeper(), none)
        .await
        .unwrap_err();
    assert!(matches!(
        error,
        GroupError::TooFewCalls {
            needed: 1,
            calls: 0,
            ..
        }
    ));
}

#[tokio::test(start_paused = true)]
async fn response_that_reports_an_error_is_no_success() {
    let tool = ScriptedTool::new(|call| async move {
        sleep(ms(call.args().as_u64().unwrap_or(0))).await;
        Ok(ToolOutput::text("response").with_is_error(call.args() == &json!(10)))
    });
    let calls = || [10, 20].map(sleeps);
    let (index, _) = CallGroup::new()
        .first_ok(tool.clone(), calls())
        .await
        .unwrap();
    assert_eq!(index, 1);
    let group = CallGroup::new().with_cancel_on_failure();
    let outcomes = group.all(tool, calls()).await;
    assert_eq!(briefs(&outcomes), ["response", "cancelled"]);
}

#[tokio::test(start_paused = true)]
async fn quorum_ends_the_group_with_the_outcome_of_each_call() {
    let started = Instant::now();
    let calls = [60_000, 20, 11, 30, 60_000].map(sleeps);
    let outcomes = CallGroup::new().quorum(2, sleeper(), calls).await.unwrap();
    assert_eq!(started.elapsed(), ms(30));
    let expected = ["cancelled", "20", "tool_error", "30", "cancelled"];
    assert_eq!(briefs(&outcomes), expected);
    assert_cancelled(&outcomes[0], true);
    assert_cancelled(&outcomes[4], true);
}

#[tokio::test(start_paused = true)]
async fn quorum_out_of_reach_ends_the_group_early() {
    let started = Instant::now();
    let calls = [60_000, 11, 20, 31].map(sleeps);
    let error = CallGroup::new()
        .quorum(3, sleeper(), calls)
        .await
        .unwrap_err();
    // With the second failure, 2 of 4 calls are left.
    assert_eq!(started.elapsed(), ms(31));
    let expected = ["cancelled", "tool_error", "20", "tool_error"];
    assert_eq!(briefs(error.outcomes()), expected);
    assert_eq!(
        error.to_string(),
        "1 of 4 calls succeeded, and the quorum is 3"
    );
}

#[tokio::test(start_paused = true)]
async fn quorum_larger_than_the_group_makes_no_call() {
    let tool = sleeper();
    let error = CallGroup::new()
        .quorum(3, tool.clone(), [10, 20].map(sleeps))
        .await
        .unwrap_err();
    assert!(matches!(
        error,
        GroupError::TooFewCalls {
            needed: 3,
            calls: 2,
            ..
        }
    ));
    assert_eq!(
        error.to_string(),
        "the quorum is 3, and the group has 2 calls"
    );
    assert_eq!(tool.probe().started(), 0);
}

#[tokio::test(start_paused = true)]
async fn quorum_of_0_is_reached_without_a_start() {
    let tool = sleeper();
    let outcomes = CallGroup::new()
        .quorum(0, tool.clone(), [10, 20].map(sleeps))
        .await
        .unwrap();
    assert_cancelled(&outcomes[0], false);
    assert_cancelled(&outcomes[1], false);
    assert_eq!(tool.probe().started(), 0);
}

#[tokio::test(start_paused = true)]
async fn failure_cancels_all_others_with_cancel_on_failure() {
    let tool = sleeper();
    let started = Instant::now();
    let group = CallGroup::new()
        .with_cancel_on_failure()
        .with_concurrency(3);
    let outcomes = group
        .all(tool.clone(), [60_000, 10, 21, 60_000, 10].map(sleeps))
        .await;
    assert_eq!(started.elapsed(), ms(21));
    let expected = ["cancelled", "10", "tool_error", "cancelled", "cancelled"];
    assert_eq!(briefs(&outcomes), expected);
    assert_cancelled(&outcomes[0], true);
    assert_cancelled(&outcomes[3], true);
    assert_cancelled(&outcomes[4], false);
    assert_eq!((tool.probe().started(), tool.probe().running()), (4, 0));
}

#[tokio::test(start_paused = true)]
async fn tool_reads_the_reason_of_the_cancellation_when_it_is_dropped() {
    let reasons = Recorder::new();
    let log = reasons.clone();
    let tool = ScriptedTool::new(move |call| {
        let log = log.clone();
        async move {
            let context = call.context().clone();
            let _on_drop = support::on_drop(move || log.record(context.cancel_reason()));
            match call.args() == &json!(0) {
                true => Ok(ToolOutput::text("first")),
                false => std::future::pending().await,
            }
        }
    });
    let (index, _) = CallGroup::new()
        .first_ok(tool, [1, 0].map(sleeps))
        .await
        .unwrap();
    assert_eq!(index, 1);
    assert_eq!(reasons.values(), [None, Some(CancelReason::Explicit)]);
}

#[tokio::test(start_paused = true)]
async fn cancelled_stream_returns_the_outcomes_that_are_left() {
    let tool = sleeper();
    let group = CallGroup::new().with_concurrency(2);
    let mut outcomes = group.outcomes(tool.clone(), [10, 60_000, 60_000, 10].map(sleeps));
    assert_eq!(outcomes.next().await.map(|(index, _)| index), Some(0));
    outcomes.cancel();
    let mut rest: Vec<_> = outcomes.by_ref().collect().await;
    rest.sort_by_key(|(index, _)| *index);
    assert_eq!(
        rest.iter().map(|(index, _)| *index).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    // The place of the first call was taken when the stream was polled next: too late.
    assert_cancelled(&rest[0].1, true);
    assert_cancelled(&rest[1].1, false);
    assert_cancelled(&rest[2].1, false);
    assert!(outcomes.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn dropped_group_ends_all_calls_and_runs_their_hooks() {
    let (tool, ended) = (sleeper(), Recorder::new());
    let calls = [20, 40, 60].map(|millis| recorded(&ended, millis));
    let all = CallGroup::new()
        .with_concurrency(2)
        .all(tool.clone(), calls);
    let late = tokio::time::timeout(ms(10), all).await;
    assert!(late.is_err());
    assert_eq!((tool.probe().started(), tool.probe().running()), (2, 0));
    sleep(ms(1)).await;
    let mut outcomes = ended.values();
    outcomes.sort_by_key(|(millis, _)| *millis);
    assert_eq!(
        outcomes,
        [20, 40, 60].map(|millis| (millis, Outcome::Cancelled))
    );
}

#[tokio::test(start_paused = true)]
async fn canceller_of_a_call_ends_that_call_alone() {
    let (first, second) = (sleeps(60_000), sleeps(30));
    let canceller = first.canceller();
    let hooks = Outcomes::of(first.context());
    let cancels = async move {
        sleep(ms(10)).await;
        canceller.cancel();
    };
    let all = CallGroup::new().all(sleeper(), [first, second]);
    let (outcomes, ()) = tokio::join!(all, cancels);
    assert_eq!(briefs(&outcomes), ["cancelled", "30"]);
    assert_eq!(hooks.all().await, [Outcome::Cancelled]);
}
