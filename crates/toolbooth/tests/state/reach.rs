//! How a tool reaches the state: by the layer, by the caller, by its parent.

use serde_json::json;
use toolbooth::RetryPolicy;
use tower::ServiceBuilder;
use tower::retry::RetryLayer;

use super::*;

/// A tool that increments `hits`, and returns the value; -1 without a state.
fn counts() -> ScriptedTool {
    ScriptedTool::new(|call| async move {
        let state = call.context().extension::<SharedState>();
        let hits = state.map_or(-1, |state| state.increment("hits", 1).expect("a counter"));
        Ok(ToolOutput::json(json!(hits)))
    })
}

async fn hits<S>(tool: S, call: ToolCall) -> i64
where
    S: tower::Service<ToolCall, Response = ToolOutput>,
    S::Error: std::fmt::Debug,
{
    let response = tool.oneshot(call).await.expect("a response");
    let response = response.collect().await.expect("a complete response");
    response.text().parse().expect("a number")
}

#[tokio::test]
async fn tool_reaches_the_state_of_the_layer() {
    let state = SharedState::new();
    let tool = StateLayer::new(state.clone()).layer(counts());
    assert_eq!(hits(tool.clone(), call()).await, 1);
    assert_eq!(hits(tool, call()).await, 2);
    assert_eq!(state.get("hits"), Ok(Some(2_i64)));
}

#[tokio::test]
async fn there_is_no_state_without_a_layer_or_with_one_that_is_off() {
    assert_eq!(hits(counts(), call()).await, -1);
    assert_eq!(hits(StateLayer::off().layer(counts()), call()).await, -1);
}

#[tokio::test]
async fn innermost_layer_and_the_caller_take_precedence() {
    let [outer, inner, own] = [10, 20, 30].map(|hits: i64| {
        let state = SharedState::new();
        state.set("hits", hits).unwrap();
        state
    });
    let tool = ServiceBuilder::new()
        .layer(StateLayer::new(outer))
        .layer(StateLayer::new(inner))
        .service(counts());
    assert_eq!(hits(tool.clone(), call()).await, 21);
    assert_eq!(hits(tool, call().with_extension(own)).await, 31);
}

#[tokio::test]
async fn children_inherit_the_state() {
    let state = SharedState::new();
    let parent = ScriptedTool::new(|call| async move {
        let child = call.context().child("counts", json!(null))?;
        counts().oneshot(child).await
    });
    let parent = StateLayer::new(state.clone()).layer(parent);
    assert_eq!(hits(parent.clone(), call()).await, 1);

    // The caller's own state takes precedence for its children, too.
    let own = SharedState::new();
    own.set("hits", 30_i64).unwrap();
    assert_eq!(hits(parent, call().with_extension(own)).await, 31);
    assert_eq!(state.get("hits"), Ok(Some(1_i64)));
}

#[tokio::test(start_paused = true)]
async fn each_attempt_reaches_the_state() {
    let state = SharedState::new();
    let fails_twice = ScriptedTool::new(|call| async move {
        let state = call.context().extension::<SharedState>().expect("a state");
        match state.increment("attempts", 1) {
            Ok(attempts @ 3..) => Ok(ToolOutput::json(json!(attempts))),
            _ => Err("failed".into()),
        }
    });
    for inside in [false, true] {
        let layer = |is_on| match is_on {
            true => StateLayer::new(state.clone()),
            false => StateLayer::off(),
        };
        state.remove("attempts");
        let tool = ServiceBuilder::new()
            .layer(layer(!inside))
            .layer(RetryLayer::new(RetryPolicy::new(3)))
            .layer(layer(inside))
            .service(fails_twice.clone());
        assert_eq!(hits(tool, call().with_idempotent(true)).await, 3);
    }
}

#[tokio::test]
async fn state_error_is_the_source_of_the_failure_of_a_tool() {
    let state = SharedState::with_limits(0, 256);
    let tool = toolbooth::tool_fn("counts", async |call: toolbooth::CallContext, _: ()| {
        let state = call.extension::<SharedState>().expect("a state");
        state.increment("hits", 1)
    });
    let tool = StateLayer::new(state).layer(tool);
    let error = tool.oneshot(call()).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(source, "the key is new, and all 0 keys are in use");
}
