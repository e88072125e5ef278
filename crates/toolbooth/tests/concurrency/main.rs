//! The concurrency limit: who runs, who waits, who is refused, and that every permit comes back.

#[path = "../support/mod.rs"]
mod support;

mod permits;
mod waiting;

use support::laws::every_layer;
use support::{
    Handle, Mock, Outcomes, Probe, Response, ScriptedTool, call, error, mock, ms, next, pass, text,
    ticking,
};
use tokio_test::task::Spawn;
use toolbooth::concurrency::{ConcurrencyLimit, ResponseFuture};
use toolbooth::{ConcurrencyLimitLayer, ToolCall};
use tower::Service;

every_layer!(ConcurrencyLimitLayer::new(1));

type Limited = ConcurrencyLimit<Mock>;
type Call = Spawn<ResponseFuture<Mock, ToolCall>>;

/// What a limit counts: permits that are free, that are held, calls that wait.
fn counts(limit: &ConcurrencyLimitLayer) -> (usize, usize, usize) {
    (limit.available(), limit.in_flight(), limit.queued())
}

/// A call of this id that has been polled once, and is pending.
fn pending(service: &mut Limited, id: &str) -> Call {
    let mut call = tokio_test::task::spawn(service.call(call().with_id(id)));
    assert!(call.poll().is_pending());
    call
}

/// The ids of the calls that have reached the tool since it was last asked.
fn started(handle: &mut Handle) -> Vec<String> {
    std::iter::from_fn(|| match handle.poll_request() {
        std::task::Poll::Ready(Some((call, _))) => Some(call.context().id().to_string()),
        _ => None,
    })
    .collect()
}
