//! `ConcurrencyLimitLayer`: which calls run, wait and are rejected, and the release of permits.

#[path = "../support/mod.rs"]
mod support;

mod events;
mod load;
mod permits;
mod queue;

use support::laws::every_layer;
use support::{
    Handle, Mock, Outcomes, ScriptedTool, call, error, error_of, mock, ms, next_text, pass,
    respond, stream_of, streams, text, text_of, ticking,
};
use tokio_test::task::{self, Spawn};
use tokio_test::{assert_pending, assert_ready};
use toolbooth::concurrency::ConcurrencyLimit;
use toolbooth::{
    ConcurrencyLimitLayer, ErrorKind, Outcome, OverloadReason, ToolCall, ToolError, ToolOutput,
};
use tower::{Layer, Service, ServiceExt};

every_layer!(ConcurrencyLimitLayer::new(1));

type Limited = ConcurrencyLimit<Mock>;
type Call = Spawn<<Limited as Service<ToolCall>>::Future>;

/// Available permits, running calls, queued calls.
fn counts(limit: &ConcurrencyLimitLayer) -> (usize, usize, usize) {
    (limit.available(), limit.in_flight(), limit.queued())
}

/// A limit of 1 around a mock.
fn one() -> (ConcurrencyLimitLayer, Limited, Handle) {
    let limit = ConcurrencyLimitLayer::new(1);
    let (service, handle) = mock(&limit);
    (limit, service, handle)
}

/// A call with this id after its first poll, which is pending.
fn pending(service: &mut Limited, id: &str) -> Call {
    let mut call = task::spawn(service.call(call().with_id(id)));
    assert_pending!(call.poll());
    call
}

/// The ids of the calls that have reached the tool since the last time.
fn started(handle: &mut Handle) -> Vec<String> {
    std::iter::from_fn(|| match handle.poll_request() {
        std::task::Poll::Ready(Some((call, _))) => Some(call.context().id().to_string()),
        _ => None,
    })
    .collect()
}
