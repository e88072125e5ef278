//! Reads what a metrics sink has recorded.

#![allow(dead_code, reason = "each test target uses a part of this module")]

use std::collections::BTreeMap;

use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use toolbooth::events::MetricsSink;

/// What a sink has recorded, by name and label values: `calls.ended{search,completed}`. Names have
/// no `toolbooth.` in front.
pub(crate) struct Recorded {
    snapshotter: Snapshotter,
    /// Counters and gauges.
    values: BTreeMap<String, f64>,
    /// Histograms, in the order in which they were recorded.
    records: BTreeMap<String, Vec<f64>>,
}

// === impl Recorded ===

impl Recorded {
    /// Returns a sink and what reads its metrics.
    pub(crate) fn new() -> (MetricsSink, Self) {
        let recorder = DebuggingRecorder::new();
        let recorded = Self::by(recorder.snapshotter());
        (MetricsSink::for_recorder(recorder), recorded)
    }

    pub(crate) fn by(snapshotter: Snapshotter) -> Self {
        Self {
            snapshotter,
            values: BTreeMap::new(),
            records: BTreeMap::new(),
        }
    }

    /// A snapshot resets what it reads, gauges included.
    fn update(&mut self) {
        for (key, _, _, value) in self.snapshotter.snapshot().into_vec() {
            let name = key.key().name().trim_start_matches("toolbooth.");
            let labels: Vec<_> = key.key().labels().map(|label| label.value()).collect();
            let key = match &*labels {
                [] => name.to_owned(),
                labels => format!("{name}{{{}}}", labels.join(",")),
            };
            match value {
                DebugValue::Counter(more) => {
                    let more = u32::try_from(more).expect("a test counts less");
                    *self.values.entry(key).or_default() += f64::from(more);
                }
                DebugValue::Gauge(more) => *self.values.entry(key).or_default() += *more,
                DebugValue::Histogram(more) => {
                    let more = more.into_iter().map(|value| *value);
                    self.records.entry(key).or_default().extend(more);
                }
            }
        }
    }

    /// Returns counters and gauges of this name that are not 0.
    pub(crate) fn values(&mut self, name: &str) -> Vec<(String, f64)> {
        let mut all = self.all(name);
        all.retain(|(_, value)| *value != 0.0);
        all
    }

    /// Returns counters and gauges of this name.
    pub(crate) fn all(&mut self, name: &str) -> Vec<(String, f64)> {
        self.update();
        let values = self.values.iter().filter_map(|(key, value)| {
            let labels = key.strip_prefix(name)?;
            (labels.is_empty() || labels.starts_with('{')).then(|| (labels.to_owned(), *value))
        });
        values.collect()
    }

    /// Returns the sum of the counters or gauges of this name.
    pub(crate) fn sum(&mut self, name: &str) -> f64 {
        self.all(name).iter().map(|(_, value)| value).sum()
    }

    /// Returns what the histogram of this name and labels has recorded.
    pub(crate) fn records(&mut self, key: &str) -> Vec<f64> {
        self.update();
        self.records.get(key).cloned().unwrap_or_default()
    }

    /// Returns how many values the histograms of this name have recorded.
    pub(crate) fn count(&mut self, name: &str) -> usize {
        self.update();
        let of_name = |key: &str| key.split('{').next() == Some(name);
        let records = self.records.iter().filter(|(key, _)| of_name(key));
        records.map(|(_, records)| records.len()).sum()
    }
}
