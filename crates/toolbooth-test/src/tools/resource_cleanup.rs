use std::time::Duration;

use tokio::time::sleep;
use toolbooth_core::{Outcome, ToolCall, ToolError, ToolOutput};

use super::service;
use crate::probe::Probe;
use crate::recorder::Recorder;

/// Holds a resource while it works, and registers a cleanup hook, once for every call.
///
/// The resource is given back by `Drop`; the hook is what takes time, and runs after the call.
/// The [crate's example](crate) shows it under a timeout.
#[derive(Debug, Clone)]
pub struct ResourceCleanupTool {
    hold: Duration,
    resources: Probe,
    hooks: Recorder<Outcome>,
}

// === impl ResourceCleanupTool ===

impl ResourceCleanupTool {
    /// Each call holds its resource so long.
    #[must_use]
    pub fn new(hold: Duration) -> Self {
        Self {
            hold,
            resources: Probe::new(),
            hooks: Recorder::new(),
        }
    }

    /// The resources: acquired is started, released is finished, held is running.
    #[must_use]
    pub const fn resources(&self) -> &Probe {
        &self.resources
    }

    /// What the hooks were told.
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
