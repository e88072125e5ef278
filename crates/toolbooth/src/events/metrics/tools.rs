use std::sync::Arc;
use std::time::Duration;

use ::metrics::{Counter, Gauge, Histogram, Label};
use toolbooth_core::{Name, Outcome};

use super::names::{
    ATTEMPTS, CLEANUP_ABANDONED, CLEANUP_DURATION, ENDED, ERROR_TYPE, EXECUTE_TOOL_DURATION,
    IN_FLIGHT, OTHER, OUTCOME, PARTIAL_BYTES, PARTIAL_ITEMS, RESULT, RETRIES, STARTED, TOOL,
};
use super::registrar::{Registrar, label};
use crate::middleware::sync::{RwLock, read, write};

/// The handles of one tool.
pub(super) struct ToolMetrics {
    pub(super) started: Counter,
    pub(super) in_flight: Gauge,
    pub(super) attempts: Counter,
    pub(super) retries: Counter,
    pub(super) items: Counter,
    pub(super) bytes: Counter,
    pub(super) cleanup_finished: Histogram,
    pub(super) cleanup_failed: Histogram,
    pub(super) cleanup_abandoned: Counter,
    tool: Label,
    /// A few kinds, found by comparing.
    ends: RwLock<Vec<Arc<Ended>>>,
}

/// The handles of the calls of a tool that end in the same way.
struct Ended {
    outcome: Outcome,
    error_type: Option<Name>,
    count: Counter,
    duration: Histogram,
}

/// How many kinds of ends a tool has at most. There are fewer, unless its failures have many
/// statuses.
const MAX_ENDS: usize = 64;

// === impl ToolMetrics ===

impl ToolMetrics {
    pub(super) fn new(registrar: &Registrar, name: &str) -> Self {
        let tool = label(TOOL, name);
        let labels = [tool.clone()];
        let counter = |name| registrar.counter(name, &labels);
        let cleanup = |result: &str| {
            registrar.histogram(CLEANUP_DURATION, &[tool.clone(), label(RESULT, result)])
        };
        Self {
            started: counter(STARTED),
            in_flight: registrar.gauge(IN_FLIGHT, &labels),
            attempts: counter(ATTEMPTS),
            retries: counter(RETRIES),
            items: counter(PARTIAL_ITEMS),
            bytes: counter(PARTIAL_BYTES),
            cleanup_finished: cleanup("finished"),
            cleanup_failed: cleanup("failed"),
            cleanup_abandoned: counter(CLEANUP_ABANDONED),
            ends: RwLock::default(),
            tool,
        }
    }

    /// Records the end of a call, and how long it took if its beginning was seen.
    pub(super) fn record_end(
        &self,
        registrar: &Registrar,
        outcome: Outcome,
        error_type: Option<&str>,
        took: Option<Duration>,
    ) {
        let ended = self.ended(registrar, outcome, error_type);
        ended.count.increment(1);
        if let Some(took) = took {
            ended.duration.record(took);
        }
    }

    fn ended(
        &self,
        registrar: &Registrar,
        outcome: Outcome,
        error_type: Option<&str>,
    ) -> Arc<Ended> {
        let known = self.find(outcome, error_type);
        known.unwrap_or_else(|| self.insert(registrar, outcome, error_type))
    }

    fn find(&self, outcome: Outcome, error_type: Option<&str>) -> Option<Arc<Ended>> {
        let ends = read(&self.ends);
        let mut ends = ends.iter();
        ends.find(|ended| ended.is(outcome, error_type)).cloned()
    }

    fn insert(
        &self,
        registrar: &Registrar,
        outcome: Outcome,
        error_type: Option<&str>,
    ) -> Arc<Ended> {
        let is_full = read(&self.ends).len() >= MAX_ENDS;
        let error_type = match error_type {
            Some(_) if is_full => Some(OTHER),
            error_type => error_type,
        };
        if let Some(known) = self.find(outcome, error_type) {
            return known;
        }
        let ended = Arc::new(Ended::new(registrar, &self.tool, outcome, error_type));
        let mut ends = write(&self.ends);
        if !ends.iter().any(|known| known.is(outcome, error_type)) {
            ends.push(Arc::clone(&ended));
        }
        ended
    }
}

// === impl Ended ===

impl Ended {
    fn new(
        registrar: &Registrar,
        tool: &Label,
        outcome: Outcome,
        error_type: Option<&str>,
    ) -> Self {
        let mut labels = vec![tool.clone()];
        labels.extend(error_type.map(|error_type| label(ERROR_TYPE, error_type)));
        let duration = registrar.histogram(EXECUTE_TOOL_DURATION, &labels);
        labels.push(label(OUTCOME, outcome.as_str()));
        Self {
            outcome,
            error_type: error_type.map(Name::from),
            count: registrar.counter(ENDED, &labels),
            duration,
        }
    }

    fn is(&self, outcome: Outcome, error_type: Option<&str>) -> bool {
        self.outcome == outcome && self.error_type.as_deref() == error_type
    }
}
