//! Mock tools, each with one known behavior.

mod chained;
mod configurable_concurrency;
mod configurable_timeout;
mod error_injection;
mod failing;
mod fast;
mod generator;
mod heartbeat;
mod partial_result;
mod priority;
mod race_condition;
mod rate_limited;
mod resource_cleanup;
mod resource_intensive;
mod slow;
mod streaming;
mod variable_delay;

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use toolbooth_core::{ToolError, ToolOutput};

pub use chained::ChainedTool;
pub use configurable_concurrency::ConfigurableConcurrencyTool;
pub use configurable_timeout::{ConfigurableTimeoutTool, MockBehavior, MockRecord, MockToolConfig};
pub use error_injection::{ErrorInjectionTool, InjectedError};
pub use failing::FailingTool;
pub use fast::FastTool;
pub use generator::GeneratorTool;
pub use heartbeat::HeartbeatTool;
pub use partial_result::PartialResultTool;
pub use priority::PriorityTool;
pub use race_condition::RaceConditionTool;
pub use rate_limited::RateLimitedTool;
pub use resource_cleanup::ResourceCleanupTool;
pub use resource_intensive::ResourceIntensiveTool;
pub use slow::SlowTool;
pub use streaming::StreamingTool;
pub use variable_delay::VariableDelayTool;

/// The future of a call to a mock tool. It does nothing before its first poll.
#[must_use = "futures do nothing unless polled"]
pub struct ToolFuture(Pin<Box<dyn Future<Output = Result<ToolOutput, ToolError>> + Send>>);

/// Implements `Service` for a tool that is always ready, by its `async fn run(self, ToolCall)`.
macro_rules! service {
    ($tool:ty) => {
        impl tower_service::Service<toolbooth_core::ToolCall> for $tool {
            type Response = toolbooth_core::ToolOutput;
            type Error = toolbooth_core::ToolError;
            type Future = $crate::tools::ToolFuture;

            fn poll_ready(
                &mut self,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Result<(), Self::Error>> {
                std::task::Poll::Ready(Ok(()))
            }

            fn call(&mut self, call: toolbooth_core::ToolCall) -> Self::Future {
                $crate::tools::ToolFuture::new(self.clone().run(call))
            }
        }
    };
}
use service;

// === impl ToolFuture ===

impl ToolFuture {
    pub(crate) fn new(
        work: impl Future<Output = Result<ToolOutput, ToolError>> + Send + 'static,
    ) -> Self {
        Self(Box::pin(work))
    }
}

impl Future for ToolFuture {
    type Output = Result<ToolOutput, ToolError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for ToolFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolFuture").finish_non_exhaustive()
    }
}
