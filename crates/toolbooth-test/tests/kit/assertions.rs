use std::panic::{AssertUnwindSafe, catch_unwind};

use toolbooth::{Outcome, PartialResultLayer, TimeoutLayer, ToolOutput, tool_fn};
use toolbooth_test::{
    CallTable, Finished, Probe, Script, ScriptedTool, assert_ended_at, assert_ok, assert_outcomes,
    assert_released, assert_timed_out, call, call_all, ms,
};
use tower::ServiceBuilder;

/// One call that completes, one that fails, and one that expires with a partial result.
async fn three() -> Vec<Finished> {
    let scripts = [
        Script::new().delay(ms(10)).respond("x".repeat(100)),
        Script::new().fail("no such row"),
        Script::new().emit("a").emit("b").hang(),
    ];
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ms(300)))
        .layer(PartialResultLayer::new())
        .service(ScriptedTool::scripts(scripts));
    call_all(stack, ["query", "delete", "scan"].map(call)).await
}

/// Returns the message of the panic of `assertion`.
fn message(assertion: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(assertion)).expect_err("it fails");
    *panic.downcast::<String>().expect("a text")
}

#[tokio::test(start_paused = true)]
async fn assertions_that_hold_do_not_panic() {
    let finished = three().await;
    assert_ok(&finished[0]);
    assert_ok(&finished[..0]);
    assert_timed_out(&finished[2], ms(300));
    let outcomes = [Outcome::Completed, Outcome::Failed, Outcome::TimedOut];
    assert_outcomes(&finished, outcomes);
    assert_ended_at(&finished, [ms(10), ms(0), ms(300)]);
    let probe = Probe::new();
    assert_released(&probe, 0);
    drop(probe.enter());
    assert_released(&probe, 1);
}

#[tokio::test(start_paused = true)]
async fn failed_assertion_prints_the_table_of_all_calls() {
    let finished = three().await;
    let text = message(|| assert_ok(&finished));
    assert!(
        text.starts_with("the outcomes differ in the calls [1, 2]"),
        "{text}"
    );
    assert!(text.ends_with(&CallTable(&finished).to_string()), "{text}");
    for row in [
        "   0  query   10 ms   completed  \"xxxx",
        "   1  delete  0 ms    failed     ",
        "no such row",
        "   2  scan    300 ms  timed_out  ",
        "2 contents in the partial result",
    ] {
        assert!(text.contains(row), "{row} in\n{text}");
    }
    // A long response is shown in part.
    assert!(
        text.contains(&format!("\"{}...\"", "x".repeat(60))),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn each_assertion_fails_for_one_wrong_call_and_for_a_wrong_number() {
    let finished = three().await;
    let outcomes = [Outcome::Completed, Outcome::Failed];
    assert!(message(|| assert_outcomes(&finished, outcomes)).contains("of 3 calls, expected 2"));
    assert!(message(|| assert_ended_at(&finished, [ms(10), ms(0)])).contains("[2]"));
    assert!(message(|| assert_ended_at(&finished, [ms(10), ms(1), ms(300)])).contains("[1]"));
    assert!(message(|| assert_timed_out(&finished, ms(300))).contains("[0, 1]"));
    assert!(message(|| assert_timed_out(&finished[2], ms(301))).contains("[0]"));
    let probe = Probe::new();
    let inside = probe.enter();
    let text = message(|| assert_released(&probe, 1));
    assert!(
        text.contains("1 started, 0 finished, and 1 are still running"),
        "{text}"
    );
    drop(inside);
    message(|| assert_released(&probe, 2));
}

/// As its hooks receive it.
#[tokio::test(start_paused = true)]
async fn response_that_reports_an_error_is_a_failure() {
    let tool = tool_fn("api", async |(): ()| {
        Ok::<_, std::io::Error>(ToolOutput::error("no such page"))
    });
    let finished = call_all(tool, [call("api")]).await;
    assert_eq!(
        (finished[0].is_ok(), finished[0].outcome()),
        (true, Outcome::Failed)
    );
    assert_eq!(finished[0].tool.as_str(), "api");
}
