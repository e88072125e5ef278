//! Makes calls, and retries some of them.

use std::future::{Ready, ready};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::Instant;
use toolbooth::{ErrorKind, ToolCall, ToolError, ToolOutput};
use tower::retry::Policy;
use tower::{Service, ServiceExt};

/// The result of a call: its duration, and its error if it failed.
pub(crate) struct CallResult {
    pub(crate) after: Duration,
    pub(crate) error: Option<ErrorKind>,
}

/// Makes one call.
pub(crate) async fn make<S>(tool: &S) -> CallResult
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError> + Clone,
{
    let start = Instant::now();
    let call = tool.clone().oneshot(ToolCall::new("tool", json!(null)));
    let error = call.await.err();
    CallResult {
        after: start.elapsed(),
        error: error.map(|error| error.kind()),
    }
}

/// Makes `calls` calls at once.
pub(crate) async fn make_all<S>(tool: &S, calls: usize) -> Vec<CallResult>
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError> + Clone,
{
    join_all((0..calls).map(|_| make(tool))).await
}

/// A retry policy for tower: up to n more attempts after retryable errors.
#[derive(Debug, Clone)]
pub(crate) struct Retries(pub(crate) u32);

// === impl CallResult ===

impl CallResult {
    /// Returns the kind of the error, or `completed`.
    pub(crate) fn name(&self) -> &'static str {
        self.error.map_or("completed", ErrorKind::as_str)
    }
}

// === impl Retries ===

impl<T> Policy<ToolCall, T, ToolError> for Retries {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut ToolCall, result: &mut Result<T, ToolError>) -> Option<Ready<()>> {
        let is_retryable = result.as_ref().is_err_and(|error| error.is_retryable());
        self.0 = self.0.checked_sub(u32::from(is_retryable))?;
        is_retryable.then(|| ready(()))
    }

    fn clone_request(&mut self, call: &ToolCall) -> Option<ToolCall> {
        Some(call.clone())
    }
}
