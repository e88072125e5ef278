use std::future::pending;
use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;
use toolbooth_core::{ToolCall, ToolError, ToolOutput};

use super::service;
use crate::probe::Probe;

/// Publishes a snapshot after a delay, and then never completes.
///
/// The snapshot is `{"items_processed": 5, "total_items": 100, "status": "in_progress"}`.
///
/// ```
/// use toolbooth::{PartialResultLayer, TimeoutLayer};
/// use toolbooth_test::{PartialResultTool, call, call_all, ms};
/// use tower::ServiceBuilder;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let stack = ServiceBuilder::new()
///     .layer(TimeoutLayer::new(ms(2_000)))
///     .layer(PartialResultLayer::new())
///     .service(PartialResultTool::new(ms(500)));
/// let finished = call_all(stack, [call("index")]).await;
/// let timeout = finished[0].result.as_ref().err().ok_or("it never completes")?;
/// let partial = timeout.partial().ok_or("published at 500 ms")?;
/// assert_eq!(partial.snapshot(), Some(&PartialResultTool::snapshot().into()));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct PartialResultTool {
    delay: Duration,
    probe: Probe,
}

// === impl PartialResultTool ===

impl PartialResultTool {
    /// Creates a tool that publishes its snapshot after `delay`.
    #[must_use]
    pub fn new(delay: Duration) -> Self {
        Self {
            delay,
            probe: Probe::new(),
        }
    }

    /// Returns the snapshot that it publishes.
    #[must_use]
    pub fn snapshot() -> serde_json::Value {
        json!({ "items_processed": 5, "total_items": 100, "status": "in_progress" })
    }

    /// Counts the calls inside this tool.
    #[must_use]
    pub const fn probe(&self) -> &Probe {
        &self.probe
    }

    async fn run(self, call: ToolCall) -> Result<ToolOutput, ToolError> {
        let _inside = self.probe.enter();
        sleep(self.delay).await;
        call.context().snapshot(Self::snapshot());
        pending().await
    }
}

service!(PartialResultTool);
