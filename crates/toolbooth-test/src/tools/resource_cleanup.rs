use std::time::Duration;

use tokio::time::sleep;
use toolbooth_core::{Outcome, ToolCall, ToolError, ToolOutput};

use super::service;
use crate::probe::Probe;
use crate::recorder::Recorder;

/// Acquires a resource and registers a cleanup hook, once in every call.
///
/// The resource is released by `Drop`, before the caller sees the outcome. The hook runs after the
/// call. The [crate's example](crate) shows both under a timeout.
#[derive(Debug, Clone)]
pub struct ResourceCleanupTool {
    hold: Duration,
    resources: Probe,
    hooks: Recorder<Outcome>,
}

// === impl ResourceCleanupTool ===

impl ResourceCleanupTool {
    /// Creates a tool whose calls hold their resource for `hold`.
    #[must_use]
    pub fn new(hold: Duration) -> Self {
        Self {
            hold,
            resources: Probe::new(),
            hooks: Recorder::new(),
        }
    }

    /// Counts the resources: acquired as started, released as finished.
    #[must_use]
    pub const fn resources(&self) -> &Probe {
        &self.resources
    }

    /// Records the outcomes that the hooks were called with.
    #[must_use]
    pub const fn hooks(&self) -> &Recorder<Outcome> {
        &self.hooks
    }

    async fn run(self, call: ToolCall) -> Result<ToolOutput, ToolError> {
        let _resource = self.resources.enter();
        call.context().on_cleanup(self.hooks.hook());
        sleep(self.hold).await;
        Ok(ToolOutput::text("done"))
    }
}

service!(ResourceCleanupTool);
