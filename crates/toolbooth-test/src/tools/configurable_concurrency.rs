use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use tokio::time::sleep;
use toolbooth_core::{ToolCall, ToolError, ToolOutput};

use super::service;
use crate::clock::ms;
use crate::probe::Probe;
use crate::sync::lock;

/// Takes a time, then succeeds, or fails after n calls or for a share of the calls.
///
/// ```
/// use toolbooth_test::{ConfigurableConcurrencyTool, call, call_all, ms};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let tool = ConfigurableConcurrencyTool::new().with_fail_after(2);
/// let finished = call_all(tool, (0..4).map(|_| call("api"))).await;
/// let ok: Vec<_> = finished.iter().map(|call| call.is_ok()).collect();
/// assert_eq!(ok, [true, true, false, false]);
/// assert!(finished.iter().all(|call| call.at == ms(100)));
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ConfigurableConcurrencyTool {
    takes: Duration,
    fail_after: Option<usize>,
    fail_rate: f64,
    state: Arc<Mutex<State>>,
    probe: Probe,
}

#[derive(Debug)]
struct State {
    calls: usize,
    rng: Rng,
}

// === impl ConfigurableConcurrencyTool ===

impl ConfigurableConcurrencyTool {
    /// Creates a tool whose calls take 100 ms and succeed.
    #[must_use]
    pub fn new() -> Self {
        let rng = Rng::with_seed(0);
        Self {
            takes: ms(100),
            fail_after: None,
            fail_rate: 0.0,
            state: Arc::new(Mutex::new(State { calls: 0, rng })),
            probe: Probe::new(),
        }
    }

    /// Sets the time that each call takes.
    #[must_use]
    pub const fn with_execution_time(mut self, takes: Duration) -> Self {
        self.takes = takes;
        self
    }

    /// Makes all calls after the first `calls` fail.
    #[must_use]
    pub const fn with_fail_after(mut self, calls: usize) -> Self {
        self.fail_after = Some(calls);
        self
    }

    /// Makes a share of the calls fail, from 0 to 1. The same ones fail for a seed.
    #[must_use]
    pub fn with_fail_rate(mut self, share: f64, seed: u64) -> Self {
        self.fail_rate = share;
        lock(&self.state).rng = Rng::with_seed(seed);
        self
    }

    /// Counts the calls inside this tool.
    #[must_use]
    pub const fn probe(&self) -> &Probe {
        &self.probe
    }

    async fn run(self, _: ToolCall) -> Result<ToolOutput, ToolError> {
        let _inside = self.probe.enter();
        let fails = self.next_fails();
        sleep(self.takes).await;
        if fails {
            return Err(ToolError::failed("simulated failure"));
        }
        Ok(ToolOutput::text("done"))
    }

    fn next_fails(&self) -> bool {
        let mut state = lock(&self.state);
        state.calls += 1;
        let random = state.rng.f64() < self.fail_rate;
        random || self.fail_after.is_some_and(|calls| state.calls > calls)
    }
}

impl Default for ConfigurableConcurrencyTool {
    fn default() -> Self {
        Self::new()
    }
}

service!(ConfigurableConcurrencyTool);
