use std::future::poll_fn;
use std::task::{Context, Poll};

use serde_json::json;
use toolbooth_core::{BoxError, ToolCall, ToolError, ToolOutput};
use tower_service::Service;

use super::ToolFuture;
use crate::probe::Probe;

/// Makes three calls of `FAST_OPERATION` through a service, one after the other.
///
/// Each is a [child](toolbooth_core::CallContext::child) of this tool's own call.
///
/// ```
/// use toolbooth::ConcurrencyLimitLayer;
/// use toolbooth_test::{ChainedTool, FastTool, call, call_all, ms};
/// use tower::Layer;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let limit = ConcurrencyLimitLayer::new(1);
/// let fast = limit.layer(FastTool::new());
/// let chained = limit.layer(ChainedTool::new(fast));
/// let finished = call_all(chained, [call("CHAINED_OPERATION")]).await;
/// assert!(finished[0].is_ok());
/// assert_eq!(finished[0].at, ms(30));
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ChainedTool<S> {
    service: S,
    depth: u32,
    probe: Probe,
}

// === impl ChainedTool ===

impl<S> ChainedTool<S> {
    /// Creates a tool that makes three calls through `service`.
    #[must_use]
    pub fn new(service: S) -> Self {
        Self {
            service,
            depth: 3,
            probe: Probe::new(),
        }
    }

    /// Sets the number of calls.
    #[must_use]
    pub const fn with_chain_depth(mut self, calls: u32) -> Self {
        self.depth = calls;
        self
    }

    /// Counts the calls inside this tool.
    #[must_use]
    pub const fn probe(&self) -> &Probe {
        &self.probe
    }

    async fn run(mut self, call: ToolCall) -> Result<ToolOutput, ToolError>
    where
        S: Service<ToolCall, Response = ToolOutput>,
        S::Error: Into<BoxError> + 'static,
    {
        let _inside = self.probe.enter();
        for link in 0..self.depth {
            let child = call.context().child("FAST_OPERATION", json!(link))?;
            poll_fn(|cx| self.service.poll_ready(cx))
                .await
                .map_err(ToolError::from_error)?;
            let output = self.service.call(child).await;
            output.map_err(ToolError::from_error)?.collect().await?;
        }
        Ok(ToolOutput::text("done"))
    }
}

impl<S> Service<ToolCall> for ChainedTool<S>
where
    S: Service<ToolCall, Response = ToolOutput> + Clone + Send + 'static,
    S::Error: Into<BoxError> + 'static,
    S::Future: Send,
{
    type Response = ToolOutput;
    type Error = ToolError;
    type Future = ToolFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: ToolCall) -> ToolFuture {
        ToolFuture::new(self.clone().run(call))
    }
}
