use toolbooth_core::{ToolCall, ToolError, ToolOutput};

use super::{SlowTool, service};
use crate::clock::ms;
use crate::probe::Probe;

/// Completes after 10 ms.
#[derive(Debug, Clone)]
pub struct FastTool(SlowTool);

// === impl FastTool ===

impl FastTool {
    /// Creates a tool that takes 10 ms.
    #[must_use]
    pub fn new() -> Self {
        Self(SlowTool::new(ms(10)))
    }

    /// Counts the calls inside this tool.
    #[must_use]
    pub const fn probe(&self) -> &Probe {
        self.0.probe()
    }

    async fn run(self, call: ToolCall) -> Result<ToolOutput, ToolError> {
        self.0.run(call).await
    }
}

impl Default for FastTool {
    fn default() -> Self {
        Self::new()
    }
}

service!(FastTool);
