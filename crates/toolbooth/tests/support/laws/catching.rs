//! A layer that catches panics turns them into errors, and lets none propagate.

use futures_util::stream;
use tokio_test::{assert_pending, assert_ready, task};
use toolbooth::{BoxError, Content, ErrorKind, Outcome, ToolError, ToolOutput};
use tower::{Layer, Service};

use super::super::*;
use super::{Layers, panics_after, run_tasks, turn};

/// Asserts that a call failed because its tool panicked with `text`.
fn assert_panicked(error: &ToolError, text: &str) {
    assert_eq!(error.kind(), ErrorKind::Panicked);
    assert_eq!(error.to_string(), format!("the tool panicked: {text}"));
    assert_eq!((error.tool(), error.is_retryable()), (Some("tool"), false));
}

/// Asserts that a call of `tool` panics with `text`, and that the service is usable afterwards.
async fn assert_panics<L: Layers<ScriptedTool>>(layer: &L, tool: &ScriptedTool, text: &str) {
    let mut service = layer.layer(tool.handle());
    let panicking = call();
    let outcomes = Outcomes::of(panicking.context());
    assert_panicked(&error(service.call(panicking).await), text);
    assert_eq!(outcomes.all().await, [Outcome::Panicked]);
    tool.set_readiness(Readiness::Fails);
    assert_eq!(error(service.call(call()).await).kind(), ErrorKind::Tool);
}

pub(crate) async fn panic_in_the_tool_is_the_error<L: Layers<ScriptedTool>>(layer: L) {
    let tool = ScriptedTool::panics_in_future();
    assert_panics(&layer, &tool, "in the future").await;
    assert_eq!(tool.probe().finished(), 1);
}

/// A tool whose future panics in its drop, after it has completed or while it is pending.
fn panics_in_drop(completes: bool) -> ScriptedTool {
    ScriptedTool::new(move |_| async move {
        let _panics = on_drop(|| panic!("in the drop"));
        if !completes {
            std::future::pending::<()>().await;
        }
        Ok(ToolOutput::text("done"))
    })
}

pub(crate) async fn panic_in_the_drop_of_the_tools_future_is_the_error<L>(layer: L)
where
    L: Layers<ScriptedTool>,
{
    assert_panics(&layer, &panics_in_drop(true), "in the drop").await;
}

pub(crate) async fn panic_in_the_drop_of_a_dropped_call_is_caught<L: Layers<ScriptedTool>>(
    layer: L,
) {
    let tool = panics_in_drop(false);
    let mut service = layer.layer(tool.handle());
    let call = call();
    let outcomes = Outcomes::of(call.context());
    let mut future = task::spawn(service.call(call));
    assert_pending!(turn(&mut future).await);
    drop(future);
    assert_eq!(tool.probe().finished(), 1);
    assert_eq!(outcomes.all().await, [Outcome::Cancelled]);
}

pub(crate) async fn panic_in_inner_poll_ready_is_the_error<L: Layers<ScriptedTool>>(layer: L) {
    let tool = ScriptedTool::ready().with_readiness(Readiness::Panics);
    assert_panics(&layer, &tool, "in poll_ready").await;
}

pub(crate) async fn panic_in_inner_poll_ready_after_a_wait_is_the_error<L>(layer: L)
where
    L: Layers<ScriptedTool>,
{
    let tool = ScriptedTool::ready().with_readiness(Readiness::Pending);
    let mut service = layer.layer(tool.handle());
    let call = call();
    let outcomes = Outcomes::of(call.context());
    let mut future = task::spawn(service.call(call));
    assert_pending!(turn(&mut future).await);
    tool.set_readiness(Readiness::Panics);
    run_tasks().await;
    assert_panicked(&error(assert_ready!(future.poll())), "in poll_ready");
    assert_eq!(outcomes.all().await, [Outcome::Panicked]);
}

pub(crate) async fn panic_in_inner_call_is_the_error<L: Layers<ScriptedTool>>(layer: L) {
    assert_panics(&layer, &ScriptedTool::panics_in_call(), "in call").await;
}

/// The response of this tool, whose first item has been read.
async fn read_one<L, F>(layer: &L, response: F) -> (ContentStream, Outcomes, Probe)
where
    L: Layers<ScriptedTool>,
    F: Fn(&Probe) -> ToolOutput + Send + Sync + 'static,
{
    let (tool, probe) = streams(response);
    let call = call();
    let outcomes = Outcomes::of(call.context());
    let mut stream = stream_of(layer.layer(tool), call).await;
    assert_eq!(next_text(&mut stream).await, "a");
    (stream, outcomes, probe)
}

pub(crate) async fn panic_in_a_streaming_response_is_its_error<L: Layers<ScriptedTool>>(layer: L) {
    let (mut stream, outcomes, probe) = read_one(&layer, |probe| panics_after(probe, 1)).await;
    let (texts, error) = rest(&mut stream).await;
    assert!(texts.is_empty());
    assert_panicked(&error.unwrap(), "in the stream");
    assert_eq!(probe.finished(), 1);
    assert_eq!(outcomes.all().await, [Outcome::Panicked]);
}

/// Two items, and a panic in the drop.
fn stream_panics_in_drop(probe: &Probe) -> ToolOutput {
    let panics = on_drop(|| panic!("in the drop"));
    let items = ["a", "b"].into_iter().map(move |text| {
        let _panics = &panics;
        Ok::<_, BoxError>(Content::from(text))
    });
    streaming(probe, stream::iter(items))
}

pub(crate) async fn panic_in_the_drop_of_a_streaming_response_is_its_error<L>(layer: L)
where
    L: Layers<ScriptedTool>,
{
    let (mut stream, outcomes, probe) = read_one(&layer, stream_panics_in_drop).await;
    let (texts, error) = rest(&mut stream).await;
    assert_eq!(texts, ["b"]);
    assert_panicked(&error.unwrap(), "in the drop");
    assert_eq!(probe.finished(), 1);
    assert_eq!(outcomes.all().await, [Outcome::Panicked]);
}

pub(crate) async fn panic_in_the_drop_of_a_dropped_streaming_response_is_caught<L>(layer: L)
where
    L: Layers<ScriptedTool>,
{
    let (stream, outcomes, probe) = read_one(&layer, stream_panics_in_drop).await;
    drop(stream);
    assert_eq!(probe.finished(), 1);
    assert_eq!(outcomes.all().await, [Outcome::Cancelled]);
}
