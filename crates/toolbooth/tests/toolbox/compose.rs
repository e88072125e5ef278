//! A toolbox under and above layers.

use std::num::NonZeroU32;

use support::laws::every_layer;
use toolbooth::{CleanupLayer, ConcurrencyLimitLayer, PartialResultLayer, Quota, RateLimitLayer};
use toolbooth_test::{BoxTool, boxed, orders};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

use super::*;

/// Makes a toolbox with one tool, named as the calls of the laws.
#[derive(Debug, Clone)]
struct OneTool;

impl<S: Tool> Layer<S> for OneTool {
    type Service = Toolbox;

    fn layer(&self, tool: S) -> Toolbox {
        let built = Toolbox::builder().tool("tool", tool).build();
        built.expect("one tool")
    }
}

// A toolbox clones its tool for each call, unlike a layer.
every_layer! { @ OneTool;
    response_passes_through
    ready_response_is_returned_at_the_first_poll
    error_response_is_ok_and_its_outcome_failed
    streaming_response_ends_the_call_with_its_last_item
    failing_stream_ends_the_call
    tool_error_of_the_inner_service_is_not_boxed_again
    foreign_error_is_the_source_of_a_tool_error
    errors_of_tower_are_converted
    pending_call_is_woken_by_its_tool
    poll_ready_is_ready_and_does_not_touch_the_inner_service
    inner_future_is_dropped_in_the_poll_that_completes_it
    future_dropped_before_its_first_poll_cancels_the_call
    future_dropped_while_running_cancels_the_call
    future_dropped_after_completion_changes_nothing
    streaming_response_dropped_half_read_cancels_the_call
    service_dropped_while_a_call_runs_does_not_end_it
    panic_in_the_tool_propagates
    panic_in_inner_call_propagates
    panic_in_a_streaming_response_propagates
}

/// The five layers in every order around a toolbox whose tools have them in the same order.
#[tokio::test(start_paused = true)]
async fn five_layers_in_every_order_outside_and_inside() {
    let hundred = NonZeroU32::new(100).unwrap();
    for order in orders(["timeout", "concurrency", "rate", "cleanup", "partial"]) {
        let wrap = move |inner: BoxTool, layer: &str| match layer {
            "timeout" => boxed(TimeoutLayer::new(ms(500)).layer(inner)),
            "concurrency" => boxed(ConcurrencyLimitLayer::new(3).layer(inner)),
            "rate" => boxed(RateLimitLayer::new(Quota::per_second(hundred)).layer(inner)),
            "cleanup" => boxed(CleanupLayer::new().layer(inner)),
            _ => boxed(PartialResultLayer::new().layer(inner)),
        };
        let around =
            move |tool: BoxTool| order.iter().fold(tool, |inner, layer| wrap(inner, layer));
        let slow = service_fn(async |call: ToolCall| {
            call.context().emit("half");
            tokio::time::sleep(ms(1_000)).await;
            Ok::<_, ToolError>(ToolOutput::text("whole"))
        });
        let toolbox = Toolbox::builder()
            .tool("fast", around(boxed(says("fast"))))
            .tool("slow", around(boxed(slow)))
            .build()
            .unwrap();
        let stack = around(boxed(toolbox));

        let finished = call_all(stack, ["fast", "slow", "rest"].map(call)).await;
        let kinds: Vec<_> = finished.iter().map(Finished::error_kind).collect();
        assert_eq!(
            kinds,
            [None, Some(ErrorKind::Timeout), Some(ErrorKind::UnknownTool)],
            "{order:?}"
        );
        let timeout = finished[1].result.as_ref().unwrap_err();
        assert!(timeout.started(), "{order:?}");
        let partial = timeout.partial().map(|partial| partial.contents().to_vec());
        assert_eq!(partial, Some(vec!["half".into()]), "{order:?}");
    }
}

/// Clones of a layer value share a limit, so one limit is around all tools.
#[tokio::test(start_paused = true)]
async fn layer_for_all_tools_is_one_limit_and_the_first_is_the_outermost() {
    let limit = ConcurrencyLimitLayer::new(1);
    let toolbox = Toolbox::builder()
        .tool("a", ScriptedTool::pending())
        .tool("b", says("b"))
        .layer(TimeoutLayer::new(ms(300)).with_name("outer"))
        .layer(limit.clone())
        .layer(TimeoutLayer::new(ms(100)).with_name("inner"))
        .build()
        .unwrap();
    let first = tokio::spawn(error_of(toolbox.clone(), call("a")));
    tokio::task::yield_now().await;
    let second = tokio::spawn(text_of(toolbox, call("b")));
    tokio::task::yield_now().await;
    assert_eq!((limit.in_flight(), limit.queued()), (1, 1));
    assert_eq!(first.await.unwrap().layer(), Some("inner"));
    assert_eq!(second.await.unwrap(), "b");
}

#[tokio::test(start_paused = true)]
async fn timeout_of_a_tool_is_outside_of_its_layers() {
    let toolbox = Toolbox::builder()
        .tool("short", ScriptedTool::pending())
        .tool("other", ScriptedTool::pending())
        .layer(ServiceBuilder::new().layer(ConcurrencyLimitLayer::new(1)))
        .with_timeout(PerTool::new(ms(900)).with("short", ms(200)))
        .build()
        .unwrap();
    let finished = call_all(toolbox, ["short", "other"].map(call)).await;
    assert_eq!([finished[0].at, finished[1].at], [ms(200), ms(900)]);
    let waited = finished[1].result.as_ref().unwrap_err();
    assert_eq!((waited.started(), waited.queue()), (true, None));
}

/// A tool that is not ready is called when it is, with the clone that was polled.
#[tokio::test(start_paused = true)]
async fn readiness_is_awaited_inside_of_the_future() {
    let tool = ScriptedTool::ready().with_readiness(support::Readiness::Pending);
    let mut toolbox = OneTool.layer(tool.handle());
    ServiceExt::ready(&mut toolbox).await.unwrap();
    assert!(tool.log().ready_polls.is_empty());
    let waiting = tokio::spawn(text_of(toolbox, support::call()));
    tokio::time::sleep(ms(100)).await;
    assert!(tool.log().calls.is_empty());
    tool.set_readiness(support::Readiness::Ready);
    assert_eq!(waiting.await.unwrap(), "done");
    let log = tool.log();
    assert_eq!(log.calls, [log.ready_polls[0]]);
}

#[tokio::test(start_paused = true)]
async fn readiness_error_fails_the_call() {
    let tool = ScriptedTool::ready().with_readiness(support::Readiness::Fails);
    let mut toolbox = OneTool.layer(tool.handle());
    let error = toolbox.call(support::call()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tool);
    tool.set_readiness(support::Readiness::Ready);
    assert_eq!(text_of(toolbox, support::call()).await, "done");
}

/// A call that is cancelled while its tool is not ready does not start within a grace.
#[tokio::test(start_paused = true)]
async fn cancelled_call_does_not_start_when_its_tool_becomes_ready() {
    let tool = ScriptedTool::ready().with_readiness(support::Readiness::Pending);
    let layer = TimeoutLayer::new(ms(100)).with_grace(ms(100));
    let stack = layer.layer(OneTool.layer(tool.handle()));
    let waiting = tokio::spawn(error_of(stack, support::call()));
    tokio::time::sleep(ms(150)).await;
    tool.set_readiness(support::Readiness::Ready);
    let error = waiting.await.unwrap();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(tool.log().calls.is_empty());
}

/// A tool that calls another tool of its toolbox.
#[tokio::test(start_paused = true)]
async fn tool_calls_another_tool_of_its_toolbox() {
    let limit = ConcurrencyLimitLayer::new(1);
    let toolbox = Toolbox::builder()
        .tool("leaf", says("leaf"))
        .layer(limit)
        .build()
        .unwrap();
    let handle = toolbox.clone();
    let parent = service_fn(move |call: ToolCall| {
        let toolbox = handle.clone();
        async move {
            toolbox
                .oneshot(call.context().child("leaf", json!({}))?)
                .await
        }
    });
    toolbox.insert("parent", parent).unwrap();
    assert_eq!(text_of(toolbox, call("parent")).await, "leaf");
}
