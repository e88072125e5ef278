//! Panics propagate through a layer, and are the outcome of the call.

use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_util::FutureExt;
use tokio_test::{assert_pending, task};
use toolbooth::Outcome;
use tower::{Layer, Service};

use super::super::*;
use super::{Layers, panics_after, turn};

pub(crate) async fn panic_in_the_tool_propagates<L: Layers<ScriptedTool>>(layer: L) {
    let tool = ScriptedTool::panics_in_future();
    let mut service = layer.layer(tool.handle());
    let call = call();
    let outcomes = Outcomes::of(call.context());
    let panic = AssertUnwindSafe(service.call(call)).catch_unwind().await;
    assert_eq!(panic_text(panic), "in the future");
    assert_eq!(tool.probe().finished(), 1);
    assert_eq!(outcomes.all().await, [Outcome::Panicked]);
}

pub(crate) async fn panic_in_inner_poll_ready_propagates<L: Layers<ScriptedTool>>(layer: L) {
    let tool = ScriptedTool::ready().with_readiness(Readiness::Panics);
    let mut service = layer.layer(tool.handle());
    let panicking = call();
    let outcomes = Outcomes::of(panicking.context());
    let panic = catch_unwind(AssertUnwindSafe(|| drop(service.call(panicking))));
    assert_eq!(panic_text(panic), "in poll_ready");
    assert_eq!(outcomes.all().await, [Outcome::Panicked]);
    tool.set_readiness(Readiness::Ready);
    assert_eq!(text(service.call(call()).await).await, "done");
}

pub(crate) async fn panic_in_inner_poll_ready_after_a_wait_propagates<L>(layer: L)
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
    let panic = catch_unwind(AssertUnwindSafe(|| future.poll().is_pending()));
    assert_eq!(panic_text(panic), "in poll_ready");
    assert_eq!(outcomes.all().await, [Outcome::Panicked]);
}

pub(crate) async fn panic_in_inner_call_propagates<L: Layers<ScriptedTool>>(layer: L) {
    let mut service = layer.layer(ScriptedTool::panics_in_call());
    let call = call();
    let outcomes = Outcomes::of(call.context());
    let panic = catch_unwind(AssertUnwindSafe(|| drop(service.call(call))));
    assert_eq!(panic_text(panic), "in call");
    assert_eq!(outcomes.all().await, [Outcome::Panicked]);
}

pub(crate) async fn panic_in_a_streaming_response_propagates<L: Layers<ScriptedTool>>(layer: L) {
    let (tool, probe) = streams(|probe| panics_after(probe, 1));
    let call = call();
    let outcomes = Outcomes::of(call.context());
    let mut stream = stream_of(layer.layer(tool), call).await;
    assert_eq!(next_text(&mut stream).await, "a");
    let panic = AssertUnwindSafe(next(&mut stream)).catch_unwind().await;
    assert_eq!(panic_text(panic), "in the stream");
    assert_eq!(probe.finished(), 1);
    assert!(next(&mut stream).await.is_none());
    assert_eq!(outcomes.all().await, [Outcome::Panicked]);
}
