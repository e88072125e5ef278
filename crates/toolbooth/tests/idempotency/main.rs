//! `IdempotencyLayer`: calls with the same key run once.

#[path = "../support/mod.rs"]
mod support;

mod bounds;
mod ends;
mod events;
mod positions;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use support::laws::every_layer;
use support::{ScriptedTool, call, error_of, ms, text_of};
use tokio::time::{Instant, sleep};
use toolbooth::{
    BoxError, Content, ErrorKind, IdempotencyLayer, OverloadReason, ToolCall, ToolError, ToolOutput,
};
use tower::{Layer, ServiceExt};

every_layer!(IdempotencyLayer::new());

/// A call with a key and an argument.
fn keyed(key: &str, argument: u64) -> ToolCall {
    ToolCall::new("tool", json!(argument)).with_idempotency_key(key)
}

/// A tool that takes 10 ms and returns the number of its execution.
fn counts() -> ScriptedTool {
    let runs = Arc::new(AtomicUsize::new(0));
    ScriptedTool::new(move |_| {
        let run = runs.fetch_add(1, Ordering::Relaxed) + 1;
        async move {
            sleep(ms(10)).await;
            Ok(ToolOutput::text(format!("run {run}")))
        }
    })
}

#[tokio::test(start_paused = true)]
async fn calls_at_the_same_time_share_one_execution() {
    let tool = counts();
    let stack = IdempotencyLayer::new().layer(tool.clone());
    let started = Instant::now();
    let calls = (0..20).map(|_| text_of(stack.clone(), keyed("a", 1)));
    let texts = futures_util::future::join_all(calls).await;
    assert_eq!(texts, ["run 1"; 20]);
    assert_eq!((started.elapsed(), tool.probe().started()), (ms(10), 1));
}

#[tokio::test(start_paused = true)]
async fn later_call_receives_the_stored_response_at_once() {
    let tool = counts();
    let layer = IdempotencyLayer::new();
    let stack = layer.layer(tool.clone());
    assert_eq!(text_of(stack.clone(), keyed("a", 1)).await, "run 1");
    let started = Instant::now();
    assert_eq!(text_of(stack.clone(), keyed("a", 1)).await, "run 1");
    // Services made of clones of the layer share the keys.
    assert_eq!(
        text_of(layer.clone().layer(tool.clone()), keyed("a", 1)).await,
        "run 1"
    );
    assert_eq!((started.elapsed(), tool.probe().started()), (ms(0), 1));
}

#[tokio::test(start_paused = true)]
async fn calls_without_a_key_and_layers_that_are_off_share_nothing() {
    let tool = counts();
    let stack = IdempotencyLayer::new().layer(tool.clone());
    let off = IdempotencyLayer::off().layer(tool);
    assert_eq!(text_of(stack.clone(), call()).await, "run 1");
    assert_eq!(text_of(stack, call()).await, "run 2");
    assert_eq!(text_of(off.clone(), keyed("a", 1)).await, "run 3");
    assert_eq!(text_of(off, keyed("a", 1)).await, "run 4");
}

#[tokio::test(start_paused = true)]
async fn key_belongs_to_a_tool_and_a_tenant() {
    let stack = IdempotencyLayer::new().layer(counts());
    let other_tool = || ToolCall::new("other", json!(1)).with_idempotency_key("a");
    let of = |tenant: &'static str| keyed("a", 1).with_tenant(tenant);
    for _ in 0..2 {
        assert_eq!(text_of(stack.clone(), keyed("a", 1)).await, "run 1");
        assert_eq!(text_of(stack.clone(), other_tool()).await, "run 2");
        assert_eq!(text_of(stack.clone(), of("acme")).await, "run 3");
        assert_eq!(text_of(stack.clone(), of("apex")).await, "run 4");
        assert_eq!(text_of(stack.clone(), keyed("b", 1)).await, "run 5");
    }
}

#[tokio::test(start_paused = true)]
async fn key_with_other_arguments_is_an_error() {
    let tool = counts();
    let stack = IdempotencyLayer::new().layer(tool.clone());
    let (first, other) = tokio::join!(
        text_of(stack.clone(), keyed("a", 1)),
        error_of(stack.clone(), keyed("a", 2)),
    );
    assert_eq!(first, "run 1");
    let late = error_of(stack, keyed("a", 2)).await;
    for error in [other, late] {
        assert_eq!(error.kind(), ErrorKind::InvalidArguments);
        assert_eq!(
            (error.layer(), error.started()),
            (Some("idempotency"), false)
        );
        let text = "invalid arguments at `idempotency key`: it was used with other arguments";
        assert_eq!(error.to_string(), text);
    }
    assert_eq!(tool.probe().started(), 1);
}

#[tokio::test(start_paused = true)]
async fn arguments_are_equal_whatever_the_order_of_their_fields() {
    let stack = IdempotencyLayer::new().layer(counts());
    for text in [r#"{"a":1,"b":[2]}"#, r#"{"b":[2],"a":1}"#] {
        let arguments: Value = serde_json::from_str(text).unwrap();
        let call = ToolCall::new("tool", arguments).with_idempotency_key("a");
        assert_eq!(text_of(stack.clone(), call).await, "run 1");
    }
}

#[tokio::test(start_paused = true)]
async fn shared_response_has_all_of_the_first_one() {
    let tool = ScriptedTool::new(|_| async {
        let contents = vec![
            "one".into(),
            json!({ "two": 2 }).into(),
            Content::data("a/b", "3"),
        ];
        Ok(ToolOutput::contents(contents)
            .with_line_ends()
            .with_meta("cost", 3))
    });
    let stack = IdempotencyLayer::new().layer(tool);
    let first = stack.clone().oneshot(keyed("a", 1)).await.unwrap();
    let second = stack.oneshot(keyed("a", 1)).await.unwrap();
    assert!(!second.is_stream());
    assert_eq!(
        second.collect().await.unwrap(),
        first.collect().await.unwrap()
    );
}

#[tokio::test(start_paused = true)]
async fn streaming_response_is_shared_when_it_is_complete() {
    let (tool, probe) = support::streams(|probe| support::ticking(probe, ms(10), ["1", "2", "3"]));
    let stack = IdempotencyLayer::new().layer(tool);
    let mut first = support::stream_of(stack.clone(), keyed("a", 1)).await;
    let second = tokio::spawn(text_of(stack.clone(), keyed("a", 1)));
    assert_eq!(support::next_text(&mut first).await, "1");
    assert!(!second.is_finished());
    assert_eq!(support::rest(&mut first).await.0, ["2", "3"]);
    assert_eq!(second.await.unwrap(), "123");
    assert_eq!(text_of(stack, keyed("a", 1)).await, "123");
    assert_eq!(probe.started(), 1);
}

/// A hook of a call that shares a response runs as in any other call.
#[tokio::test(start_paused = true)]
async fn hooks_of_a_call_that_shares_a_response_run() {
    let stack = IdempotencyLayer::new().layer(counts());
    text_of(stack.clone(), keyed("a", 1)).await;
    let call = keyed("a", 1);
    let hooks = support::Outcomes::of(call.context());
    text_of(stack, call).await;
    assert_eq!(hooks.all().await, [toolbooth::Outcome::Completed]);
}
