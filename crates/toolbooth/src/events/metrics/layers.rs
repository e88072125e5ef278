use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use ::metrics::{Counter, Gauge, Histogram, Label};
use toolbooth_core::LayerName;

use super::names::{
    BREAKER_STATE, KEY_OVERFLOWS, LAYER, LAYER_KIND, LIMIT_OVERSHOOT, OTHER, QUEUE_WAIT, QUEUED,
    RESULT, STATE,
};
use super::registrar::{Registrar, label};

/// The handles of one layer. Most layers use a few of them, registered at their first use.
pub(super) struct LayerMetrics {
    labels: [Label; 2],
    queue: OnceLock<QueueMetrics>,
    overshoot: OnceLock<Histogram>,
    key_overflows: OnceLock<Counter>,
    breaker: BreakerMetrics,
}

pub(super) struct QueueMetrics {
    pub(super) length: Gauge,
    /// The waits of calls that were admitted.
    pub(super) admitted: Histogram,
    /// The waits of calls that ended in the queue.
    pub(super) ended: Histogram,
}

/// A gauge for each state.
#[derive(Default)]
struct BreakerMetrics {
    /// Whether the gauge of the closed state counts the breaker. That of one with keys does not,
    /// nor does that of the disabled state: keys that never changed are not known.
    counts_closed: AtomicBool,
    gauges: [OnceLock<Gauge>; STATES.len()],
}

const CLOSED: &str = "closed";
const DISABLED: &str = "disabled";
const STATES: [&str; 4] = [CLOSED, "open", "half_open", DISABLED];

// === impl LayerMetrics ===

impl LayerMetrics {
    /// Makes the handles of a layer, for the label value `name`.
    pub(super) fn new(name: &str, layer: Option<&LayerName>) -> Self {
        let kind = layer.map_or(OTHER, LayerName::kind);
        Self {
            labels: [label(LAYER, name), label(LAYER_KIND, kind)],
            queue: OnceLock::new(),
            overshoot: OnceLock::new(),
            key_overflows: OnceLock::new(),
            breaker: BreakerMetrics::default(),
        }
    }

    pub(super) fn queue(&self, registrar: &Registrar) -> &QueueMetrics {
        self.queue.get_or_init(|| {
            let wait = |result| {
                let labels = self.labels_and(label(RESULT, result));
                registrar.histogram(QUEUE_WAIT, &labels)
            };
            QueueMetrics {
                length: registrar.gauge(QUEUED, &self.labels),
                admitted: wait("admitted"),
                ended: wait("ended"),
            }
        })
    }

    pub(super) fn overshoot(&self, registrar: &Registrar) -> &Histogram {
        self.overshoot
            .get_or_init(|| registrar.histogram(LIMIT_OVERSHOOT, &self.labels))
    }

    pub(super) fn key_overflows(&self, registrar: &Registrar) -> &Counter {
        self.key_overflows
            .get_or_init(|| registrar.counter(KEY_OVERFLOWS, &self.labels))
    }

    /// Moves a breaker, or one of its keys, from one state to another.
    ///
    /// Gauges move by one and are never set: threads may report two changes in the wrong order.
    pub(super) fn change_state(&self, registrar: &Registrar, has_key: bool, from: &str, to: &str) {
        if !has_key && !self.breaker.counts_closed.swap(true, Ordering::AcqRel) {
            for state in STATES {
                let begins = if state == CLOSED { 1.0 } else { 0.0 };
                self.change(registrar, has_key, state, begins);
            }
        }
        self.change(registrar, has_key, from, -1.0);
        self.change(registrar, has_key, to, 1.0);
    }

    fn change(&self, registrar: &Registrar, has_key: bool, state: &str, by: f64) {
        let known = STATES.iter().position(|known| *known == state);
        let counts = !has_key || !matches!(state, CLOSED | DISABLED);
        let Some(index) = known.filter(|_| counts) else {
            return;
        };
        let gauge = self.breaker.gauges[index].get_or_init(|| {
            let labels = self.labels_and(label(STATE, STATES[index]));
            registrar.gauge(BREAKER_STATE, &labels)
        });
        gauge.increment(by);
    }

    fn labels_and(&self, label: Label) -> [Label; 3] {
        let [name, kind] = self.labels.clone();
        [name, kind, label]
    }
}
