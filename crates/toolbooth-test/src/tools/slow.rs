use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::sleep;
use toolbooth_core::{ToolCall, ToolError, ToolOutput};

use super::service;
use crate::probe::Probe;

/// Completes after a time. Its first calls can be made to fail at once.
///
/// ```
/// use toolbooth_test::{SlowTool, call, call_all, ms};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let tool = SlowTool::new(ms(5_000)).with_fail_count(2);
/// let calls = (0..4).map(|_| call("slow"));
/// let finished = call_all(tool.clone(), calls).await;
/// let ok: Vec<_> = finished.iter().map(|call| call.is_ok()).collect();
/// assert_eq!(ok, [false, false, true, true]);
/// assert_eq!((finished[1].at, finished[2].at), (ms(0), ms(5_000)));
/// assert_eq!(tool.probe().max(), 2);
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct SlowTool {
    takes: Duration,
    failures_left: Arc<AtomicUsize>,
    probe: Probe,
}

// === impl SlowTool ===

impl SlowTool {
    /// Creates a tool whose calls take the time `takes`.
    #[must_use]
    pub fn new(takes: Duration) -> Self {
        Self {
            takes,
            failures_left: Arc::default(),
            probe: Probe::new(),
        }
    }

    /// Makes the first `calls` calls fail at once.
    #[must_use]
    pub fn with_fail_count(self, calls: usize) -> Self {
        self.failures_left.store(calls, Ordering::Release);
        self
    }

    /// Counts the calls inside this tool.
    #[must_use]
    pub const fn probe(&self) -> &Probe {
        &self.probe
    }

    pub(super) async fn run(self, _: ToolCall) -> Result<ToolOutput, ToolError> {
        let one_less = |left: usize| left.checked_sub(1);
        let fails = self
            .failures_left
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less)
            .is_ok();
        if fails {
            return Err(ToolError::failed("simulated failure"));
        }
        let _inside = self.probe.enter();
        sleep(self.takes).await;
        Ok(ToolOutput::text("done"))
    }
}

service!(SlowTool);
