use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;
use tokio::time::sleep;
use toolbooth_core::{ToolCall, ToolError, ToolOutput};

use super::service;
use crate::clock::ms;

/// Adds 1 to a counter in a way that loses updates of other tools: a negative control.
///
/// Under a lock of its own, it reads the counter, sleeps 1 ms, writes the value plus 1, and returns
/// it. Clones share the lock. Two tools that share only the counter overwrite each other's value.
///
/// ```
/// use toolbooth_test::{RaceConditionTool, call, call_all};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let one = RaceConditionTool::new();
/// call_all(one.clone(), (0..10).map(|_| call("count"))).await;
/// assert_eq!(one.count(), 10);
///
/// let first = RaceConditionTool::new();
/// let second = RaceConditionTool::sharing(&first);
/// tokio::join!(call_all(first.clone(), [call("count")]), call_all(second, [call("count")]));
/// assert_eq!(first.count(), 1);
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct RaceConditionTool {
    counter: Arc<AtomicU64>,
    lock: Arc<Mutex<()>>,
}

// === impl RaceConditionTool ===

impl RaceConditionTool {
    /// Creates a tool with a counter and a lock of its own.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a tool that shares the counter of another, but not its lock.
    #[must_use]
    pub fn sharing(other: &Self) -> Self {
        Self {
            counter: Arc::clone(&other.counter),
            lock: Arc::default(),
        }
    }

    /// Returns the value of the counter.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counter.load(Ordering::SeqCst)
    }

    async fn run(self, _: ToolCall) -> Result<ToolOutput, ToolError> {
        let _locked = self.lock.lock().await;
        let read = self.count();
        sleep(ms(1)).await;
        self.counter.store(read + 1, Ordering::SeqCst);
        Ok(ToolOutput::json((read + 1).into()))
    }
}

service!(RaceConditionTool);
