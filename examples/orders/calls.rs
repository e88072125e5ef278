//! Making calls, and making some of them again.

use std::future::{Ready, ready};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::Instant;
use toolbooth::{ErrorKind, ToolCall, ToolError, ToolOutput};
use tower::retry::Policy;
use tower::{Service, ServiceExt};

/// How a call ended: when, since it was made, and with which error.
pub(crate) struct Ended {
    pub(crate) after: Duration,
    pub(crate) error: Option<ErrorKind>,
}

/// Makes one call.
pub(crate) async fn make<S>(tool: &S) -> Ended
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError> + Clone,
{
    let start = Instant::now();
    let answer = tool.clone().oneshot(ToolCall::new("tool", json!(null)));
    let error = answer.await.err();
    Ended {
        after: start.elapsed(),
        error: error.map(|error| error.kind()),
    }
}

/// Makes so many calls at once.
pub(crate) async fn make_all<S>(tool: &S, calls: usize) -> Vec<Ended>
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError> + Clone,
{
    join_all((0..calls).map(|_| make(tool))).await
}

/// tower's retry asks this one: so many more attempts, of errors that say they may help.
#[derive(Debug, Clone)]
pub(crate) struct Again(pub(crate) u32);

// === impl Ended ===

impl Ended {
    /// The end in a word.
    pub(crate) fn how(&self) -> &'static str {
        self.error.map_or("answered", ErrorKind::as_str)
    }
}

// === impl Again ===

impl<T> Policy<ToolCall, T, ToolError> for Again {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut ToolCall, result: &mut Result<T, ToolError>) -> Option<Ready<()>> {
        let may_help = result.as_ref().is_err_and(|error| error.is_retryable());
        self.0 = self.0.checked_sub(u32::from(may_help))?;
        may_help.then(|| ready(()))
    }

    fn clone_request(&mut self, call: &ToolCall) -> Option<ToolCall> {
        Some(call.clone())
    }
}
