use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};
use toolbooth_core::{ToolCall, ToolError, ToolOutput};

use super::service;
use crate::probe::Probe;
use crate::recorder::Recorder;

/// Works through its items, and reports progress at most once an interval.
///
/// It reports only between items. By default there are ten items of 200 ms and an interval of
/// 500 ms, so it reports before the items 0, 3, 6 and 9: every 600 ms.
///
/// ```
/// use toolbooth::{TimeoutLayer, TimeoutScope};
/// use toolbooth_test::{HeartbeatTool, call, call_all, ms, timeout_of};
/// use tower::Layer;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let tool = HeartbeatTool::new();
/// let patient = TimeoutLayer::unlimited().with_idle(ms(1_000)).layer(tool.clone());
/// let finished = call_all(patient, [call("heartbeat")]).await;
/// assert!(finished[0].is_ok());
/// assert_eq!(finished[0].at, ms(2_000));
/// assert_eq!(tool.beats().times(), [ms(0), ms(600), ms(1_200), ms(1_800)]);
///
/// let impatient = TimeoutLayer::unlimited().with_idle(ms(500)).layer(tool);
/// let finished = call_all(impatient, [call("heartbeat")]).await;
/// let expired = finished[0].result.as_ref().err();
/// assert_eq!(expired.and_then(timeout_of), Some((TimeoutScope::Idle, ms(500), ms(500))));
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
    /// Creates a tool with ten items of 200 ms and an interval of 500 ms between reports.
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

    /// Sets the number of items and the time that each takes.
    #[must_use]
    pub const fn with_items(mut self, items: u64, takes: Duration) -> Self {
        self.items = items;
        self.takes = takes;
        self
    }

    /// Sets the shortest time between reports.
    #[must_use]
    pub const fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Records each report with the number of items done.
    #[must_use]
    pub const fn beats(&self) -> &Recorder<u64> {
        &self.beats
    }

    /// Counts the calls inside this tool.
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
