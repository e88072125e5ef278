//! Dropping a future or a response cancels the call; dropping a service does not.

use futures_util::{StreamExt, stream};
use tokio_test::{assert_pending, assert_ready, task};
use toolbooth::{BoxError, CancelReason, Content, Outcome, ToolOutput};
use tower::{Layer, Service};

use super::super::*;
use super::{Layers, respond, turn};

pub(crate) async fn inner_future_is_dropped_in_the_poll_that_completes_it<L>(layer: L)
where
    L: Layers<ScriptedTool>,
{
    let tool = ScriptedTool::ready();
    let mut service = layer.layer(tool.handle());
    let mut future = task::spawn(service.call(call()));
    assert_eq!(tool.probe().finished(), 0);
    assert_ready!(turn(&mut future).await).unwrap();
    assert_eq!(tool.probe().finished(), 1);
    drop(future);
    assert_eq!(tool.probe().finished(), 1);
}

pub(crate) async fn future_dropped_before_its_first_poll_cancels_the_call<L>(layer: L)
where
    L: Layers<ScriptedTool>,
{
    let tool = ScriptedTool::pending();
    let mut service = layer.layer(tool.handle());
    let call = call();
    let context = call.context().clone();
    let outcomes = Outcomes::of(&context);
    let future = service.call(call);
    assert_eq!(context.cancel_reason(), None);
    drop(future);
    assert_eq!(tool.probe().finished(), 1);
    assert_eq!(context.cancel_reason(), Some(CancelReason::CallerGone));
    assert_eq!(outcomes.all().await, [Outcome::Cancelled]);
}

pub(crate) async fn future_dropped_while_unready_cancels_the_call<L>(layer: L)
where
    L: Layers<ScriptedTool>,
{
    let tool = ScriptedTool::pending().with_readiness(Readiness::Pending);
    let mut service = layer.layer(tool.handle());
    let call = call();
    let outcomes = Outcomes::of(call.context());
    let mut future = task::spawn(service.call(call));
    assert_pending!(turn(&mut future).await);
    drop(future);
    assert!(tool.log().calls.is_empty());
    assert_eq!(outcomes.all().await, [Outcome::Cancelled]);
}

pub(crate) async fn future_dropped_while_running_cancels_the_call<L>(layer: L)
where
    L: Layers<ScriptedTool>,
{
    // The context has its reason before the tool is dropped.
    let reasons = Recorder::new();
    let recorder = reasons.clone();
    let tool = ScriptedTool::new(move |call| {
        let (context, recorder) = (call.context().clone(), recorder.clone());
        async move {
            let _on_drop = on_drop(|| recorder.record(context.cancel_reason()));
            std::future::pending().await
        }
    });
    let mut service = layer.layer(tool.handle());
    let call = call();
    let outcomes = Outcomes::of(call.context());
    let mut future = task::spawn(service.call(call));
    assert_pending!(turn(&mut future).await);
    assert_eq!(tool.probe().finished(), 0);
    drop(future);
    assert_eq!(tool.probe().finished(), 1);
    assert_eq!(reasons.values(), [Some(CancelReason::CallerGone)]);
    assert_eq!(outcomes.all().await, [Outcome::Cancelled]);
}

pub(crate) async fn future_dropped_after_completion_changes_nothing<L: Layers<Mock>>(layer: L) {
    let (mut service, mut handle) = mock(&layer);
    let call = call();
    let context = call.context().clone();
    let outcomes = Outcomes::of(&context);
    let mut future = task::spawn(service.call(call));
    respond(&mut handle, ToolOutput::text("done")).await;
    assert_ready!(turn(&mut future).await).unwrap();
    drop(future);
    assert_eq!(context.cancel_reason(), None);
    assert_eq!(outcomes.all().await, [Outcome::Completed]);
}

pub(crate) async fn streaming_response_dropped_half_read_cancels_the_call<L>(layer: L)
where
    L: Layers<ScriptedTool>,
{
    let (tool, probe) = streams(|probe| {
        let two = ["a", "b"].map(|text| Ok::<_, BoxError>(Content::from(text)));
        streaming(probe, stream::iter(two).chain(stream::pending()))
    });
    let call = call();
    let context = call.context().clone();
    let mut outcomes = Outcomes::of(&context);
    let mut stream = stream_of(layer.layer(tool), call).await;
    assert_eq!(next_text(&mut stream).await, "a");
    assert!(outcomes.is_pending());
    assert_eq!((probe.running(), context.cancel_reason()), (1, None));
    drop(stream);
    assert_eq!(probe.running(), 0);
    assert_eq!(context.cancel_reason(), Some(CancelReason::CallerGone));
    assert_eq!(outcomes.all().await, [Outcome::Cancelled]);
}

pub(crate) async fn service_dropped_while_a_call_runs_does_not_end_it<L: Layers<Mock>>(layer: L) {
    let (mut service, mut handle) = mock(&layer);
    let mut future = task::spawn(service.call(call()));
    assert_pending!(turn(&mut future).await);
    drop((service, layer));
    respond(&mut handle, ToolOutput::text("done")).await;
    assert_eq!(text(assert_ready!(turn(&mut future).await)).await, "done");
}
