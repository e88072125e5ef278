//! The annotation `idempotent` decides about retries, inside and outside of the toolbox.

use toolbooth::RetryPolicy;
use tower::retry::RetryLayer;
use tower::{Layer, Service};

use super::*;

fn retries() -> RetryLayer<RetryPolicy> {
    RetryLayer::new(RetryPolicy::new(3).with_backoff(ms(0), ms(0)))
}

fn reads(name: &'static str) -> ToolSpec {
    ToolSpec::new(name).with_annotations(ToolAnnotations::new().with_read_only(true))
}

fn repeatable(name: &'static str) -> ToolSpec {
    ToolSpec::new(name).with_annotations(ToolAnnotations::new().with_idempotent(true))
}

/// Returns how many times a tool is called that fails each time.
async fn attempts<S>(tool: &ScriptedTool, service: S, call: ToolCall) -> usize
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError>,
{
    let before = tool.log().calls.len();
    assert_eq!(error_of(service, call).await.kind(), ErrorKind::Tool);
    tool.log().calls.len() - before
}

fn broken() -> ScriptedTool {
    ScriptedTool::new(async |_| Err("broken".into()))
}

#[tokio::test(start_paused = true)]
async fn tool_is_retried_if_its_annotations_allow_it() {
    let tool = broken();
    let builder = || {
        Toolbox::builder()
            .tool(reads("reads"), tool.handle())
            .tool(repeatable("repeatable"), tool.handle())
            .tool("writes", tool.handle())
    };
    let inside = builder().layer(retries()).build().unwrap();
    let outside = retries().layer(builder().build().unwrap());
    let far_outside = TimeoutLayer::new(ms(1_000)).layer(outside.clone());
    let far_outside =
        retries().layer(TimeoutLayer::new(ms(900)).layer(far_outside.get_ref().get_ref().clone()));
    let (inside, outside) = (
        toolbooth_test::boxed(inside),
        toolbooth_test::boxed(outside),
    );
    for stack in [inside, outside, toolbooth_test::boxed(far_outside)] {
        for (name, expected) in [("reads", 3), ("repeatable", 3), ("writes", 1)] {
            let made = attempts(&tool, stack.clone(), call(name)).await;
            assert_eq!(made, expected, "{name}");
        }
        // What the call sets takes precedence.
        let call_that_may = call("writes").with_idempotent(true);
        assert_eq!(attempts(&tool, stack.clone(), call_that_may).await, 3);
        let call_that_must_not = call("reads").with_idempotent(false);
        assert_eq!(attempts(&tool, stack, call_that_must_not).await, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn setting_of_the_toolbox_precedes_the_annotations_and_that_of_the_policy_both() {
    let tool = broken();
    let settings = PerTool::none().with("reads", false).with("writes", true);
    let toolbox = Toolbox::builder()
        .tool(reads("reads"), tool.handle())
        .tool("writes", tool.handle())
        .with_idempotent(settings)
        .build()
        .unwrap();
    let stack = retries().layer(toolbox.clone());
    assert_eq!(attempts(&tool, stack.clone(), call("reads")).await, 1);
    assert_eq!(attempts(&tool, stack, call("writes")).await, 3);

    let policy = RetryPolicy::new(3).with_idempotent(PerTool::none().with("writes", false));
    let stack = RetryLayer::new(policy).layer(toolbox);
    assert_eq!(attempts(&tool, stack, call("writes")).await, 1);
}

/// Each attempt sets what is known of the tool that it was resolved to.
#[tokio::test(start_paused = true)]
async fn replaced_tool_is_no_longer_idempotent() {
    let toolbox = Toolbox::builder().build().unwrap();
    let handle = toolbox.clone();
    let writes = broken();
    let replacement = writes.handle();
    let tool = ScriptedTool::new(move |_| {
        let replaced = handle.replace("work", replacement.handle());
        replaced.expect("there is one");
        ready(Err("broken".into()))
    });
    toolbox.insert(reads("work"), tool.handle()).unwrap();
    let stack = retries().layer(toolbox);
    assert_eq!(attempts(&tool, stack, call("work")).await, 1);
    assert_eq!(writes.log().calls.len(), 1);
}

#[test]
fn annotations_have_the_defaults_of_mcp() {
    let seen = |annotations: ToolAnnotations| {
        (
            annotations.is_read_only(),
            annotations.is_destructive(),
            annotations.is_idempotent(),
            annotations.is_open_world(),
        )
    };
    let new = ToolAnnotations::new;
    assert_eq!(seen(new()), (false, true, false, true));
    let reads = new().with_read_only(true);
    assert_eq!(seen(reads), (true, false, true, true));
    let contradicts = reads.with_destructive(true).with_idempotent(false);
    assert_eq!(seen(contradicts), (true, false, true, true));
    let adds = new().with_destructive(false).with_open_world(false);
    assert_eq!(seen(adds), (false, false, false, false));
    let hints = json!({ "idempotentHint": true, "title": "Deletes", "destructiveHint": null });
    let read: ToolAnnotations = serde_json::from_value(hints).unwrap();
    assert_eq!(seen(read), (false, true, true, true));
    assert_eq!(
        serde_json::to_value(read).unwrap(),
        json!({ "idempotentHint": true })
    );
}
