//! What a call starts ends with it: cancellation, nested calls, tasks, blocking work and shutdown.

#![expect(clippy::panic, reason = "tools of these tests panic")]

mod blocking;
mod cancel;
mod child;
mod close;
mod held;
mod tasks;

use serde_json::json;
use tokio::time::Instant;
use toolbooth::{
    BoxError, CallContext, CleanupLayer, ConcurrencyLimitLayer, PartialResultLayer, RateLimitLayer,
    TimeoutLayer, ToolCall, ToolError,
};
use toolbooth_test::{BoxTool, Probe, Recorder, boxed, cancel_reason, ms};
use toolbooth_tests::{Kind, Layers, MINUTE, Retries, hanging, hourly, runtime};
use tower::{Layer, ServiceExt};

fn call() -> ToolCall {
    toolbooth_test::call("tool")
}

/// A tool that runs a function of its context.
fn tool<F, Fut>(run: F) -> BoxTool
where
    F: Fn(CallContext) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<&'static str, BoxError>> + Send + 'static,
{
    toolbooth_tests::tool(run)
}

/// How a call ends after its tool has started.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Ending {
    Completes,
    Fails,
    Panics,
    TimesOut,
    IsDropped,
    IsCancelled,
}

impl Ending {
    const ALL: [Self; 6] = [
        Self::Completes,
        Self::Fails,
        Self::Panics,
        Self::TimesOut,
        Self::IsDropped,
        Self::IsCancelled,
    ];

    /// Ends the tool, or waits until the call is ended in another way.
    async fn end(self) -> Result<&'static str, BoxError> {
        match self {
            Self::Completes => Ok("done"),
            Self::Fails => Err("the tool fails".into()),
            Self::Panics => panic!("the tool panics"),
            _ => std::future::pending().await,
        }
    }
}
