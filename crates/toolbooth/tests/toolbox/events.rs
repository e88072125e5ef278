//! The events of calls of a toolbox.

use toolbooth::ConcurrencyLimitLayer;
use toolbooth_test::Readiness;
use tower::{Layer, ServiceExt};

use super::support::events::EventLines;
use super::*;

#[tokio::test(start_paused = true)]
async fn call_that_waits_for_the_gate_is_started_when_its_tool_is_called() {
    let events = EventLines::new();
    let toolbox = Toolbox::builder()
        .tool("search", says("found"))
        .gate(|request: GateRequest| async move {
            tokio::time::sleep(ms(30)).await;
            match request.context().id().as_str() {
                "allowed" => Ok(()),
                _ => Err(Denied::new("not now")),
            }
        })
        .build()
        .unwrap();
    let service = events.layer().layer(toolbox);
    let allowed = text_of(service.clone(), call("search").with_id("allowed")).await;
    assert_eq!(allowed, "found");
    error_of(service.clone(), call("search").with_id("denied")).await;
    error_of(service, call("other").with_id("unknown")).await;

    assert_eq!(
        events.take(),
        [
            "0 allowed tool.invoked",
            "0 allowed tool.queued gate",
            "30 allowed tool.admitted gate 30",
            "30 allowed tool.started",
            "30 allowed tool.completed",
            "30 denied tool.invoked",
            "30 denied tool.queued gate",
            "60 denied tool.rejected denied",
            "60 unknown tool.invoked",
            "60 unknown tool.rejected unknown_tool",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn tool_that_is_not_ready_is_started_when_it_is_called() {
    let events = EventLines::new();
    let tool = ScriptedTool::ready().with_readiness(Readiness::Pending);
    let toolbox = Toolbox::builder()
        .tool("search", tool.handle())
        .build()
        .unwrap();
    let service = events.layer().layer(toolbox);
    let run = |id: &str| text_of(service.clone(), call("search").with_id(id));
    let waits = tokio::spawn(run("waits"));
    tokio::time::sleep(ms(20)).await;
    tool.set_readiness(Readiness::Ready);
    assert_eq!(waits.await.unwrap(), "done");
    tool.set_readiness(Readiness::Fails);
    error_of(service.clone(), call("search").with_id("fails")).await;
    tool.set_readiness(Readiness::Pending);
    let dropped = service.clone().oneshot(call("search").with_id("dropped"));
    tokio::time::timeout(ms(5), dropped).await.unwrap_err();

    assert_eq!(
        events.take(),
        [
            "0 waits tool.invoked",
            "20 waits tool.started",
            "20 waits tool.completed",
            "20 fails tool.invoked",
            "20 fails tool.failed",
            "20 dropped tool.invoked",
            "25 dropped tool.cancelled started=true",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn layers_of_the_tools_report_to_an_events_layer_around_the_toolbox() {
    let events = EventLines::new();
    let tool = support::takes(ms(10));
    let toolbox = Toolbox::builder()
        .tool("search", tool)
        .layer(ConcurrencyLimitLayer::new(1))
        .build()
        .unwrap();
    let service = events.layer().layer(toolbox);
    let [a, b] = ["a", "b"].map(|id| service.clone().oneshot(call("search").with_id(id)));
    let (a, b) = tokio::join!(a, b);
    assert!(a.is_ok() && b.is_ok());

    assert_eq!(
        events.take(),
        [
            "0 a tool.invoked",
            "0 a tool.started",
            "0 b tool.invoked",
            "0 b tool.queued concurrency",
            "10 a tool.completed",
            "10 b tool.admitted concurrency 10",
            "10 b tool.started",
            "20 b tool.completed",
        ]
    );
}
