use tokio::time::sleep;
use toolbooth_core::{ToolCall, ToolError, ToolOutput};

use super::service;
use crate::clock::ms;
use crate::probe::Probe;
use crate::recorder::Recorder;

/// Completes after 100 ms, and records the priority of each call when it starts.
///
/// ```
/// use toolbooth::{ConcurrencyLimitLayer, Order};
/// use toolbooth_test::{PriorityTool, call, call_all, ms};
/// use tower::Layer;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let tool = PriorityTool::new();
/// let limit = ConcurrencyLimitLayer::new(1).with_order(Order::priority());
/// let calls = [9, 0, 5].map(|priority| call("task").with_priority(priority));
/// call_all(limit.layer(tool.clone()), calls).await;
/// assert_eq!(tool.starts().entries(), [(ms(0), 9), (ms(100), 5), (ms(200), 0)]);
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct PriorityTool {
    starts: Recorder<i32>,
    probe: Probe,
}

// === impl PriorityTool ===

impl PriorityTool {
    /// Creates a tool whose calls take 100 ms.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Records the priority of each call at its start.
    #[must_use]
    pub const fn starts(&self) -> &Recorder<i32> {
        &self.starts
    }

    /// Counts the calls inside this tool.
    #[must_use]
    pub const fn probe(&self) -> &Probe {
        &self.probe
    }

    async fn run(self, call: ToolCall) -> Result<ToolOutput, ToolError> {
        let _inside = self.probe.enter();
        self.starts.record(call.context().priority());
        sleep(ms(100)).await;
        Ok(ToolOutput::text("done"))
    }
}

service!(PriorityTool);
