use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use toolbooth_core::{ToolCall, ToolError, ToolOutput};

use super::service;
use crate::clock::ms;
use crate::sync::lock;

const PER_SECOND: usize = 20;
const LATENCY: Duration = ms(50);

/// A backend with a rate limit of its own, to test a rate limit in front of it.
///
/// It accepts 20 calls in any second, each for 50 ms, and rejects more. A call that was accepted
/// exactly one second ago no longer counts.
///
/// ```
/// use toolbooth_test::{RateLimitedTool, call, call_all};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let backend = RateLimitedTool::new();
/// let calls = (0..50).map(|_| call("api"));
/// call_all(backend.clone(), calls).await;
/// assert_eq!((backend.accepted(), backend.rejections()), (20, 30));
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct RateLimitedTool(Arc<Mutex<Backend>>);

#[derive(Debug, Default)]
struct Backend {
    last_second: VecDeque<Instant>,
    accepted: usize,
    rejections: usize,
}

// === impl RateLimitedTool ===

impl RateLimitedTool {
    /// Creates a backend that has accepted no call.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the number of calls that it accepted.
    #[must_use]
    pub fn accepted(&self) -> usize {
        lock(&self.0).accepted
    }

    /// Returns the number of calls that it rejected.
    #[must_use]
    pub fn rejections(&self) -> usize {
        lock(&self.0).rejections
    }

    async fn run(self, _: ToolCall) -> Result<ToolOutput, ToolError> {
        if !self.accepts() {
            return Err(ToolError::failed("the backend accepts 20 calls a second"));
        }
        sleep(LATENCY).await;
        Ok(ToolOutput::text("done"))
    }

    fn accepts(&self) -> bool {
        let now = Instant::now();
        let mut backend = lock(&self.0);
        backend
            .last_second
            .retain(|at| now.duration_since(*at) < ms(1_000));
        if backend.last_second.len() >= PER_SECOND {
            backend.rejections += 1;
            return false;
        }
        backend.last_second.push_back(now);
        backend.accepted += 1;
        true
    }
}

service!(RateLimitedTool);
