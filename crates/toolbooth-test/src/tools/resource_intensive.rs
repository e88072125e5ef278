use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::sleep;
use toolbooth_core::{ToolCall, ToolError, ToolOutput};

use super::service;
use crate::probe::Probe;
use crate::sync::lock;

/// Allocates memory, holds it for a time and frees it, and counts the live bytes.
///
/// ```
/// use toolbooth::ConcurrencyLimitLayer;
/// use toolbooth_test::{ResourceIntensiveTool, call, call_all, ms};
/// use tower::Layer;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let tool = ResourceIntensiveTool::new(2_048 << 10, ms(50));
/// let stack = ConcurrencyLimitLayer::new(2).layer(tool.clone());
/// let calls = (0..5).map(|_| call("render"));
/// call_all(stack, calls).await;
/// assert_eq!((tool.peak_bytes(), tool.live_bytes()), (4_096 << 10, 0));
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ResourceIntensiveTool {
    bytes: usize,
    takes: Duration,
    memory: Arc<Mutex<Memory>>,
    probe: Probe,
}

#[derive(Debug, Default)]
struct Memory {
    live: usize,
    peak: usize,
}

struct Allocated {
    block: Vec<u8>,
    memory: Arc<Mutex<Memory>>,
}

// === impl ResourceIntensiveTool ===

impl ResourceIntensiveTool {
    /// Creates a tool whose calls hold `bytes` bytes for the time `takes`.
    #[must_use]
    pub fn new(bytes: usize, takes: Duration) -> Self {
        Self {
            bytes,
            takes,
            memory: Arc::default(),
            probe: Probe::new(),
        }
    }

    /// Returns the number of bytes that its calls hold.
    #[must_use]
    pub fn live_bytes(&self) -> usize {
        lock(&self.memory).live
    }

    /// Returns the highest number of bytes that its calls held at the same time.
    #[must_use]
    pub fn peak_bytes(&self) -> usize {
        lock(&self.memory).peak
    }

    /// Counts the calls inside this tool.
    #[must_use]
    pub const fn probe(&self) -> &Probe {
        &self.probe
    }

    async fn run(self, _: ToolCall) -> Result<ToolOutput, ToolError> {
        let _inside = self.probe.enter();
        let allocated = Allocated::new(self.bytes, &self.memory);
        sleep(self.takes).await;
        Ok(ToolOutput::json(allocated.block.len().into()))
    }
}

service!(ResourceIntensiveTool);

// === impl Allocated ===

impl Allocated {
    fn new(bytes: usize, memory: &Arc<Mutex<Memory>>) -> Self {
        let mut counts = lock(memory);
        counts.live += bytes;
        counts.peak = counts.peak.max(counts.live);
        drop(counts);
        Self {
            block: vec![0; bytes],
            memory: Arc::clone(memory),
        }
    }
}

impl Drop for Allocated {
    fn drop(&mut self) {
        lock(&self.memory).live -= self.block.len();
    }
}
