use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};
use toolbooth_core::{Content, ToolCall, ToolError, ToolOutput};

use super::service;
use crate::clock::ms;
use crate::recorder::Recorder;
use crate::sync::lock;

/// Behaves as its [`MockToolConfig`], which a test can replace between calls.
///
/// It records each call at its end, also one that was dropped.
///
/// ```
/// use toolbooth::TimeoutLayer;
/// use toolbooth_test::{
///     ConfigurableTimeoutTool, MockBehavior, MockToolConfig, call, call_all, ms,
/// };
/// use tower::Layer;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let tool = ConfigurableTimeoutTool::new();
/// let stack = TimeoutLayer::new(ms(2_000)).layer(tool.clone());
/// assert!(call_all(stack.clone(), [call("mock")]).await[0].is_ok());
///
/// tool.configure(MockToolConfig::new(MockBehavior::HangForever));
/// assert!(!call_all(stack, [call("mock")]).await[0].is_ok());
/// let ends = tool.records().values();
/// let ends: Vec<_> = ends.iter().map(|end| (end.behavior, end.cancelled)).collect();
/// assert_eq!(ends, [(MockBehavior::Normal, false), (MockBehavior::HangForever, true)]);
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct ConfigurableTimeoutTool {
    config: Arc<Mutex<MockToolConfig>>,
    records: Recorder<MockRecord>,
}

/// What a [`ConfigurableTimeoutTool`] does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MockBehavior {
    /// Completes after the execution time: the default.
    #[default]
    Normal,
    /// Completes after ten times the execution time.
    Slow,
    /// Publishes a snapshot after the partial delay, and never completes.
    PartialHang,
    /// Emits each item after a chunk delay, then returns all of them.
    StreamingSlow,
    /// Fails at once.
    ImmediateError,
    /// Never completes.
    HangForever,
    /// Works for the execution time, and reports progress at once and after each interval.
    Heartbeat,
}

/// The settings of a [`ConfigurableTimeoutTool`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MockToolConfig {
    behavior: MockBehavior,
    execution: Duration,
    partial_delay: Duration,
    chunk_delay: Duration,
    items: usize,
    heartbeat_interval: Duration,
}

/// The end of one call of a [`ConfigurableTimeoutTool`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MockRecord {
    /// What the tool did.
    pub behavior: MockBehavior,
    /// Whether the future of the call was dropped before it completed.
    pub cancelled: bool,
}

/// Records the call when it is dropped.
struct Ending {
    record: MockRecord,
    records: Recorder<MockRecord>,
}

// === impl ConfigurableTimeoutTool ===

impl ConfigurableTimeoutTool {
    /// Creates a tool with the default settings.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces the settings. Calls that have started keep theirs.
    pub fn configure(&self, config: MockToolConfig) {
        *lock(&self.config) = config;
    }

    /// Records the end of each call.
    #[must_use]
    pub const fn records(&self) -> &Recorder<MockRecord> {
        &self.records
    }

    async fn run(self, call: ToolCall) -> Result<ToolOutput, ToolError> {
        let config = lock(&self.config).clone();
        let mut ending = Ending {
            record: MockRecord {
                behavior: config.behavior,
                cancelled: true,
            },
            records: self.records,
        };
        let result = config.run(&call).await;
        ending.record.cancelled = false;
        result
    }
}

service!(ConfigurableTimeoutTool);

// === impl MockToolConfig ===

impl MockToolConfig {
    /// Creates settings with the default times: an execution of 100 ms, a partial result after
    /// 500 ms, 20 chunks with 100 ms before each, and a report of progress every 500 ms.
    #[must_use]
    pub const fn new(behavior: MockBehavior) -> Self {
        Self {
            behavior,
            execution: ms(100),
            partial_delay: ms(500),
            chunk_delay: ms(100),
            items: 20,
            heartbeat_interval: ms(500),
        }
    }

    /// Sets the execution time.
    #[must_use]
    pub const fn with_execution(mut self, time: Duration) -> Self {
        self.execution = time;
        self
    }

    /// Sets the time until the snapshot.
    #[must_use]
    pub const fn with_partial_delay(mut self, delay: Duration) -> Self {
        self.partial_delay = delay;
        self
    }

    /// Sets the number of chunks, and the time before each.
    #[must_use]
    pub const fn with_chunks(mut self, items: usize, delay: Duration) -> Self {
        self.items = items;
        self.chunk_delay = delay;
        self
    }

    /// Sets the time between two reports of progress.
    #[must_use]
    pub const fn with_heartbeat_interval(mut self, interval: Duration) -> Self {
        self.heartbeat_interval = interval;
        self
    }

    async fn run(self, call: &ToolCall) -> Result<ToolOutput, ToolError> {
        match self.behavior {
            MockBehavior::Normal => sleep(self.execution).await,
            MockBehavior::Slow => sleep(self.execution.saturating_mul(10)).await,
            MockBehavior::PartialHang => {
                sleep(self.partial_delay).await;
                call.context().snapshot(json!({ "status": "in_progress" }));
                return pending().await;
            }
            MockBehavior::StreamingSlow => return Ok(self.emit(call).await),
            MockBehavior::ImmediateError => return Err(ToolError::failed("simulated failure")),
            MockBehavior::HangForever => return pending().await,
            MockBehavior::Heartbeat => self.beat(call).await,
        }
        Ok(ToolOutput::text("done"))
    }

    async fn emit(self, call: &ToolCall) -> ToolOutput {
        let chunks: Vec<Content> = (0..self.items)
            .map(|n| format!("chunk_{n}").into())
            .collect();
        for chunk in &chunks {
            sleep(self.chunk_delay).await;
            call.context().emit(chunk.clone());
        }
        ToolOutput::contents(chunks)
    }

    async fn beat(self, call: &ToolCall) {
        let end = Instant::now() + self.execution;
        loop {
            call.context().heartbeat();
            let left = end.saturating_duration_since(Instant::now());
            // An interval of 0 is one beat.
            if left <= self.heartbeat_interval || self.heartbeat_interval.is_zero() {
                return sleep(left).await;
            }
            sleep(self.heartbeat_interval).await;
        }
    }
}

impl Default for MockToolConfig {
    fn default() -> Self {
        Self::new(MockBehavior::Normal)
    }
}

// === impl Ending ===

impl Drop for Ending {
    fn drop(&mut self) {
        self.records.record(self.record);
    }
}
