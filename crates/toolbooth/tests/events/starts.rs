//! When the tool starts: once for each attempt, before everything that the tool does.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use support::Readiness;

use super::*;

#[tokio::test(start_paused = true)]
async fn activity_during_the_call_follows_the_start() {
    let (layer, events) = recorded();
    let tool = ScriptedTool::new(|call| {
        call.context().progress(1, 2, None);
        call.context().emit("a");
        std::future::ready(Ok(ToolOutput::text("done")))
    });
    text_of(layer.layer(tool), call()).await;
    let names = [
        "tool.invoked",
        "tool.started",
        "tool.progress",
        "tool.first_item",
        "tool.partial",
        "tool.completed",
    ];
    assert_eq!(events.names(), names);
}

#[tokio::test(start_paused = true)]
async fn tool_that_panics_when_it_is_called_has_started() {
    let names = ["tool.invoked", "tool.started", "tool.panicked"];
    let (layer, events) = recorded();
    let tool = ScriptedTool::panics_in_call();
    let caught = CatchPanicLayer::new().layer(tool.handle());
    error_of(layer.layer(caught), call()).await;
    assert_eq!(events.names(), names);

    let (layer, events) = recorded();
    let response = layer.layer(tool).oneshot(call());
    assert!(AssertUnwindSafe(response).catch_unwind().await.is_err());
    assert_eq!(events.names(), names);
}

#[tokio::test(start_paused = true)]
async fn tool_that_is_not_ready_starts_when_it_is() {
    let (layer, events) = recorded();
    let tool = ScriptedTool::ready().with_readiness(Readiness::Pending);
    let stack = layer.layer(tool.handle());
    let (_, ()) = tokio::join!(text_of(stack, call()), async {
        tokio::time::sleep(ms(10)).await;
        assert_eq!(events.names(), ["tool.invoked"]);
        tool.set_readiness(Readiness::Ready);
    });
    let names = ["tool.invoked", "tool.started", "tool.completed"];
    assert_eq!(events.names(), names);
    assert_eq!(events.times(), [ms(0), ms(10), ms(10)]);
}

#[tokio::test(start_paused = true)]
async fn call_that_a_layer_holds_back_does_not_start() {
    let (layer, events) = recorded();
    let stack = layer.layer(ConcurrencyLimitLayer::new(0).layer(ScriptedTool::ready()));
    error_of(stack, call()).await;
    assert_eq!(events.names(), ["tool.invoked", "tool.rejected"]);
}
