use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use toolbooth_core::{ToolCall, ToolError, ToolOutput};

use super::service;

/// Succeeds at once for its first calls, and fails at once after them.
///
/// ```
/// use toolbooth_test::{FailingTool, call};
/// use tower::ServiceExt;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let tool = FailingTool::new(1);
/// assert!(tool.clone().oneshot(call("api")).await.is_ok());
/// assert!(tool.clone().oneshot(call("api")).await.is_err());
/// assert_eq!(tool.calls(), 2);
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct FailingTool {
    fail_after: usize,
    calls: Arc<AtomicUsize>,
}

// === impl FailingTool ===

impl FailingTool {
    /// Creates a tool that fails after `fail_after` calls.
    #[must_use]
    pub fn new(fail_after: usize) -> Self {
        Self {
            fail_after,
            calls: Arc::default(),
        }
    }

    /// Returns the number of calls so far.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::Acquire)
    }

    #[expect(clippy::unused_async, reason = "the work of a tool is a future")]
    async fn run(self, _: ToolCall) -> Result<ToolOutput, ToolError> {
        if self.calls.fetch_add(1, Ordering::AcqRel) < self.fail_after {
            Ok(ToolOutput::text("done"))
        } else {
            Err(ToolError::failed("simulated failure"))
        }
    }
}

service!(FailingTool);
