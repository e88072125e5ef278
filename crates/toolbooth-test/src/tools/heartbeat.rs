use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};
use toolbooth_core::{ToolCall, ToolError, ToolOutput};

use super::service;
use crate::probe::Probe;
use crate::recorder::Recorder;

/// Works through its items, and says how far it is where it has not said so for an interval.
///
/// It looks before each item: with the defaults, ten items of 200 ms and an interval of 500 ms, it reports before
/// items 0, 3, 6 and 9, which is every 600 ms.
///
/// ```
/// use toolbooth::{TimeoutLayer, TimeoutScope, ToolCall, ToolError};
/// use toolbooth_test::{HeartbeatTool, call_all, ms};
/// use tower::Layer;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let tool = HeartbeatTool::new();
/// let patient = TimeoutLayer::unlimited().with_idle(ms(1_000)).layer(tool.clone());
/// let call = ToolCall::new("heartbeat", serde_json::json!(null));
/// let finished = call_all(patient, [call.clone()]).await;
/// assert!(finished[0].is_ok());
/// assert_eq!(finished[0].at, ms(2_000));
/// assert_eq!(tool.beats().times(), [ms(0), ms(600), ms(1_200), ms(1_800)]);
///
/// let impatient = TimeoutLayer::unlimited().with_idle(ms(500)).layer(tool);
/// let finished = call_all(impatient, [call]).await;
/// let scope = TimeoutScope::Idle;
/// assert!(matches!(&finished[0].result, Err(ToolError::Timeout { scope: idle, .. }) if *idle == scope));
/// assert_eq!(finished[0].at, ms(500));
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct HeartbeatTool {
    items: u64,
    takes: Duration,
    interval: Duration,
    beats: Recorder<u64>,
    probe: Probe,
}

// === impl HeartbeatTool ===

impl HeartbeatTool {
    /// Ten items of 200 ms, and a report every 500 ms or a little later.
    #[must_use]
    pub fn new() -> Self {
        Self {
            items: 10,
            takes: Duration::from_millis(200),
            interval: Duration::from_millis(500),
            beats: Recorder::new(),
            probe: Probe::new(),
        }
    }

    /// So many items, each of which takes so long.
    #[must_use]
    pub const fn with_items(mut self, items: u64, takes: Duration) -> Self {
        self.items = items;
        self.takes = takes;
        self
    }

    /// The time between reports, at least.
    #[must_use]
    pub const fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// When it reported, and how many items were done.
    #[must_use]
    pub const fn beats(&self) -> &Recorder<u64> {
        &self.beats
    }

    /// Who is inside.
    #[must_use]
    pub const fn probe(&self) -> &Probe {
        &self.probe
    }

    async fn run(self, call: ToolCall) -> Result<ToolOutput, ToolError> {
        let _inside = self.probe.enter();
        let mut last: Option<Instant> = None;
        for item in 0..self.items {
            if last.is_none_or(|last| last.elapsed() >= self.interval) {
                last = Some(Instant::now());
                self.beats.record(item);
                let message = format!("item {item}");
                call.context().progress(item, self.items, message);
            }
            sleep(self.takes).await;
        }
        Ok(ToolOutput::json(json!({ "items": self.items })))
    }
}

impl Default for HeartbeatTool {
    fn default() -> Self {
        Self::new()
    }
}

service!(HeartbeatTool);
