//! Responses and errors pass through, and end the call.

use std::error::Error;
use std::fmt::Debug;
use std::future::{Ready, ready};

use futures_util::stream;
use tokio_test::{assert_pending, assert_ready, task};
use toolbooth::{BoxError, Content, ErrorKind, Outcome, ToolCall, ToolError, ToolOutput};
use tower::util::{ServiceFn, service_fn};
use tower::{Layer, Service};

use super::super::*;
use super::{Layers, respond, run_tasks, turn};

pub(crate) async fn layer_service_and_future_are_send_and_print<L>(layer: L)
where
    L: Layers<ScriptedTool> + Clone + Send + Sync + Debug + 'static,
{
    // The trait bounds assert `Send`, `Sync`, `Clone` and `'static`.
    assert!(format!("{layer:?}").contains("Layer"));
    let mut service = layer.layer(ScriptedTool::pending());
    assert!(format!("{service:?}").contains("ScriptedTool"));
    let future = service.call(call());
    assert!(format!("{future:?}").contains("Future"));
}

pub(crate) async fn response_passes_through<L: Layers<Mock>>(layer: L) {
    let (mut service, mut handle) = mock(&layer);
    let call = call().with_id("the call");
    let outcomes = Outcomes::of(call.context());
    let mut future = task::spawn(service.call(call));
    let (request, response) = handle.next_request().await.expect("a request");
    assert_eq!(request.context().id(), "the call");
    response.send_response(ToolOutput::text("done").with_meta("cost", 3));
    let output = assert_ready!(turn(&mut future).await).unwrap();
    assert_eq!(output.meta().unwrap()["cost"], 3);
    assert_eq!(text(Ok(output)).await, "done");
    assert_eq!(outcomes.all().await, [Outcome::Completed]);
}

pub(crate) async fn ready_response_is_returned_at_the_first_poll<L>(layer: L)
where
    L: Layers<ScriptedTool>,
{
    let mut service = layer.layer(ScriptedTool::ready());
    let mut future = task::spawn(service.call(call()));
    assert_eq!(text(assert_ready!(future.poll())).await, "done");
}

pub(crate) async fn error_response_is_ok_and_its_outcome_failed<L: Layers<Mock>>(layer: L) {
    let (mut service, mut handle) = mock(&layer);
    let call = call();
    let outcomes = Outcomes::of(call.context());
    let mut future = task::spawn(service.call(call));
    respond(&mut handle, ToolOutput::error("the file is empty")).await;
    assert!(assert_ready!(turn(&mut future).await).unwrap().is_error());
    assert_eq!(outcomes.all().await, [Outcome::Failed]);
}

pub(crate) async fn streaming_response_ends_the_call_with_its_last_item<L>(layer: L)
where
    L: Layers<ScriptedTool>,
{
    let (tool, probe) = streams(|probe| ticking(probe, ms(10), ["a", "b"]));
    let call = call();
    let mut outcomes = Outcomes::of(call.context());
    let mut stream = stream_of(layer.layer(tool), call).await;
    assert_eq!(next_text(&mut stream).await, "a");
    assert_eq!(next_text(&mut stream).await, "b");
    assert!(outcomes.is_pending());
    assert_eq!(probe.running(), 1);
    assert!(next(&mut stream).await.is_none());
    assert_eq!(probe.running(), 0);
    assert!(next(&mut stream).await.is_none());
    assert_eq!(outcomes.all().await, [Outcome::Completed]);
}

pub(crate) async fn failing_stream_ends_the_call<L: Layers<ScriptedTool>>(layer: L) {
    let (tool, probe) = streams(|probe| {
        let items = [Ok("a"), Err("disk full"), Ok("b")];
        streaming(
            probe,
            stream::iter(items.map(|item| item.map(Content::from))),
        )
    });
    let call = call();
    let outcomes = Outcomes::of(call.context());
    let mut stream = stream_of(layer.layer(tool), call).await;
    let (texts, failed) = rest(&mut stream).await;
    let failed = failed.unwrap();
    assert_eq!(texts, ["a"]);
    assert_eq!(failed.kind(), ErrorKind::Tool);
    assert_eq!(failed.tool(), Some("tool"));
    assert_eq!(probe.finished(), 1);
    assert_eq!(outcomes.all().await, [Outcome::Failed]);
}

pub(crate) async fn tool_error_of_the_inner_service_is_not_boxed_again<L>(layer: L)
where
    L: Layers<ServiceFn<fn(ToolCall) -> Ready<Response>>> + Layers<Mock>,
{
    // As the error type of the inner service.
    let rejecting: fn(ToolCall) -> _ = |_| ready(Err(ToolError::rate_limited(ms(7))));
    let rejected = error_of(layer.layer(service_fn(rejecting)), call()).await;
    assert_eq!(rejected.kind(), ErrorKind::RateLimited);
    assert_eq!(rejected.retry_after(), Some(ms(7)));
    assert_eq!((rejected.tool(), rejected.partial()), (Some("tool"), None));

    // In a box: the source is the same object.
    let failed = ToolError::failed("disk full").with_retryable(true);
    let passed = fails_at_the_mock(&layer, call(), failed.clone()).await;
    let source = |error| Error::source(error).unwrap();
    assert!(std::ptr::addr_eq(source(&failed), source(&passed)));
    assert!(passed.is_retryable());
}

pub(crate) async fn foreign_error_is_the_source_of_a_tool_error<L: Layers<Mock>>(layer: L) {
    let call = call().with_id("17");
    let outcomes = Outcomes::of(call.context());
    let failed = fails_at_the_mock(&layer, call, "disk full").await;
    assert_eq!(failed.kind(), ErrorKind::Tool);
    let source = failed.source().unwrap();
    assert_eq!(source.to_string(), "disk full");
    assert!(source.source().is_none());
    assert_eq!(
        (failed.tool(), failed.call_id()),
        (Some("tool"), Some("17"))
    );
    assert!(!failed.is_retryable());
    assert_eq!(outcomes.all().await, [Outcome::Failed]);
}

pub(crate) async fn errors_of_tower_are_converted<L: Layers<Mock>>(layer: L) {
    let elapsed = tower::timeout::error::Elapsed::new();
    let elapsed = fails_at_the_mock(&layer, call(), elapsed).await;
    let text = "timed out after 30ms (foreign limit of 30ms)";
    assert_eq!(elapsed.to_string(), text);
    assert_eq!(elapsed.kind(), ErrorKind::Timeout);

    let shed = tower::load_shed::error::Overloaded::new();
    let shed = fails_at_the_mock(&layer, call(), shed).await;
    assert_eq!(shed.to_string(), "overloaded: the service shed the call");
    assert_eq!(shed.kind(), ErrorKind::Overloaded);
}

/// The error of a call whose tool fails with `cause` after 30 ms.
async fn fails_at_the_mock<L>(layer: &L, call: ToolCall, cause: impl Into<BoxError>) -> ToolError
where
    L: Layers<Mock>,
{
    let (mut service, mut handle) = mock(layer);
    let mut future = task::spawn(service.call(call));
    let (_, response) = handle.next_request().await.unwrap();
    tokio::time::advance(ms(30)).await;
    response.send_error(cause);
    run_tasks().await;
    error(assert_ready!(turn(&mut future).await))
}

pub(crate) async fn pending_call_is_woken_by_its_tool<L: Layers<Mock>>(layer: L) {
    let (mut service, mut handle) = mock(&layer);
    let mut future = task::spawn(service.call(call()));
    assert_pending!(turn(&mut future).await);
    assert!(!future.is_woken());
    respond(&mut handle, ToolOutput::text("done")).await;
    assert!(future.is_woken());
    assert_eq!(text(assert_ready!(turn(&mut future).await)).await, "done");
}
