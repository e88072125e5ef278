//! What a call passes on to the server.

use http::{Extensions, HeaderMap, HeaderValue};
use tonic::Request;
use tonic::metadata::MetadataMap;
use toolbooth::CallContext;
use toolbooth::events::TraceContext;

use crate::timeout::limit_timeout;

/// Makes a request for a tool that calls another service.
///
/// Its header `grpc-timeout` is the time until the [deadline](CallContext::deadline) of the call,
/// if there is one. The server then stops when the response is useless. The headers `traceparent`
/// and `tracestate` are the [`TraceContext`] of the call, if it has one.
///
/// If the call ends early, its future is dropped with the response, which cancels the call at the
/// server. The error of the response converts by [`tool_error`](crate::tool_error).
///
/// ```
/// use std::time::Duration;
/// use tokio::time::Instant;
/// use toolbooth::ToolCall;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let deadline = Instant::now() + Duration::from_secs(2);
/// let call = ToolCall::new("search", ()).with_deadline(deadline);
/// let request = toolbooth_tonic::request(call.context(), "TODO");
/// assert_eq!(request.metadata().get("grpc-timeout").unwrap(), "2000000u");
/// # }
/// ```
#[must_use]
pub fn request<T>(call: &CallContext, message: T) -> Request<T> {
    let mut headers = HeaderMap::new();
    propagate(call, &mut headers);
    let metadata = MetadataMap::from_headers(headers);
    Request::from_parts(metadata, Extensions::new(), message)
}

/// Adds the headers by which the server learns of the call. A shorter timeout and a trace context
/// that the request has already stay.
pub(super) fn propagate(call: &CallContext, headers: &mut HeaderMap) {
    if let Some(remaining) = call.remaining() {
        limit_timeout(headers, remaining);
    }
    let Some(trace) = call.extension::<TraceContext>() else {
        return;
    };
    if headers.contains_key(TRACEPARENT) {
        return;
    }
    if let Ok(parent) = HeaderValue::try_from(trace.to_string()) {
        headers.insert(TRACEPARENT, parent);
    }
    match HeaderValue::try_from(trace.tracestate()) {
        Ok(state) if !state.is_empty() => drop(headers.insert(TRACESTATE, state)),
        _ => {}
    }
}

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
