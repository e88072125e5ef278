use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use tokio::time::sleep;
use toolbooth_core::{ToolCall, ToolError, ToolOutput};

use super::service;
use crate::clock::ms;
use crate::probe::Probe;
use crate::recorder::Recorder;
use crate::sync::lock;

/// Completes after a random delay: whole milliseconds, by default from 50 to 500.
///
/// The n-th call gets the same delay for a seed.
///
/// ```
/// use toolbooth_test::{VariableDelayTool, call, call_all};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let tool = VariableDelayTool::seeded(7);
/// let finished = call_all(tool.clone(), [call("api"), call("api")]).await;
/// let delays = [finished[0].at, finished[1].at];
/// assert_eq!(tool.delays().values(), delays);
///
/// let again = call_all(VariableDelayTool::seeded(7), [call("api"), call("api")]).await;
/// assert_eq!([again[0].at, again[1].at], delays);
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct VariableDelayTool {
    range: RangeInclusive<u64>,
    rng: Arc<Mutex<Rng>>,
    delays: Recorder<Duration>,
    probe: Probe,
}

// === impl VariableDelayTool ===

impl VariableDelayTool {
    /// Creates a tool with delays of 50 to 500 ms.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self {
            range: 50..=500,
            rng: Arc::new(Mutex::new(Rng::with_seed(seed))),
            delays: Recorder::new(),
            probe: Probe::new(),
        }
    }

    /// Sets the range of the delays, in milliseconds. An empty range is its start alone.
    #[must_use]
    pub fn with_range_ms(mut self, range: RangeInclusive<u64>) -> Self {
        let from = *range.start();
        self.range = from..=from.max(*range.end());
        self
    }

    /// Records the delay of each call.
    #[must_use]
    pub const fn delays(&self) -> &Recorder<Duration> {
        &self.delays
    }

    /// Counts the calls inside this tool.
    #[must_use]
    pub const fn probe(&self) -> &Probe {
        &self.probe
    }

    async fn run(self, _: ToolCall) -> Result<ToolOutput, ToolError> {
        let _inside = self.probe.enter();
        let delay = ms(lock(&self.rng).u64(self.range));
        self.delays.record(delay);
        sleep(delay).await;
        Ok(ToolOutput::text("done"))
    }
}

service!(VariableDelayTool);
