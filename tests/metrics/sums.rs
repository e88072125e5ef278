//! What a metrics sink must have recorded, counted from the events of the same calls.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use toolbooth::events::MetricsSink;
use toolbooth::{Event, EventKind, EventSink, EventsLayer};

use crate::recorded::Recorded;

/// Counts the events of one layer.
#[derive(Clone, Default)]
pub(crate) struct Tally(Arc<Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    invoked: u32,
    /// By outcome.
    ended: BTreeMap<String, u32>,
    started: u32,
    held_back: u32,
    queued: u32,
    attempts: u32,
    items: u32,
    /// The passes of each call that have not ended, and whether the tool was called in each.
    open: HashMap<u64, Vec<bool>>,
}

// === impl Tally ===

impl EventSink for Tally {
    fn on_event(&self, event: &Event) {
        let counts = &mut *self.0.lock().expect("no panic under it");
        let open = counts.open.entry(event.serial).or_default();
        match &event.kind {
            EventKind::Invoked { .. } => {
                counts.invoked += 1;
                open.push(false);
            }
            EventKind::Queued { .. } => counts.queued += 1,
            EventKind::Started => {
                counts.attempts += 1;
                open.fill(true);
            }
            EventKind::Partial { .. } => counts.items += 1,
            kind => {
                if let Some(outcome) = kind.outcome() {
                    let outcome = outcome.as_str().to_owned();
                    *counts.ended.entry(outcome).or_default() += 1;
                    match open.pop().expect("each terminal event follows an invoked") {
                        true => counts.started += 1,
                        false => counts.held_back += 1,
                    }
                }
            }
        }
    }
}

impl Tally {
    /// Returns a layer with a metrics sink, and this tally of the same events.
    pub(crate) fn layer(&self, metrics: &MetricsSink) -> EventsLayer {
        EventsLayer::new(metrics.clone()).with_sink(self.clone())
    }

    /// Returns how many calls ended with an outcome.
    pub(crate) fn ended(&self, outcome: &str) -> u32 {
        let counts = self.0.lock().expect("no panic under it");
        counts.ended.get(outcome).copied().unwrap_or(0)
    }

    /// Returns how many passes have not ended.
    pub(crate) fn open(&self) -> usize {
        let counts = self.0.lock().expect("no panic under it");
        counts.open.values().map(Vec::len).sum()
    }

    /// Asserts that the counts of the metrics are those of the events, that they add up, and that
    /// nothing is in flight or waits.
    #[track_caller]
    pub(crate) fn assert_agrees(&self, recorded: &mut Recorded, case: &str) {
        let counts = self.0.lock().expect("no panic under it");
        let invoked = f64::from(counts.invoked);
        let sum = |recorded: &mut Recorded, name: &str| recorded.sum(name);

        let mut ended = BTreeMap::new();
        for (labels, value) in recorded.values("calls.ended") {
            let outcome = labels.trim_end_matches('}').rsplit(',').next();
            *ended.entry(outcome.unwrap_or("").to_owned()).or_insert(0.0) += value;
        }
        let expected = counts.ended.iter();
        let expected: BTreeMap<_, _> = expected
            .map(|(outcome, count)| (outcome.clone(), f64::from(*count)))
            .collect();
        assert_eq!(ended, expected, "{case}");
        assert_eq!(sum(recorded, "calls.invoked"), invoked, "{case}");
        assert_eq!(sum(recorded, "calls.ended"), invoked, "{case}");
        let durations = recorded.count("gen_ai.execute_tool.duration");
        assert_eq!(durations, counts.invoked as usize, "{case}");

        let started = sum(recorded, "calls.started");
        assert_eq!(started, f64::from(counts.started), "{case}");
        assert_eq!(started + f64::from(counts.held_back), invoked, "{case}");
        let attempts = f64::from(counts.attempts);
        assert_eq!(sum(recorded, "calls.attempts"), attempts, "{case}");
        assert_eq!(
            sum(recorded, "partial.items"),
            f64::from(counts.items),
            "{case}"
        );

        let waits = recorded.count("queue.wait");
        assert_eq!(waits, counts.queued as usize, "{case}");
        assert_eq!(recorded.values("queue.length"), [], "{case}");
        assert_eq!(recorded.values("calls.in_flight"), [], "{case}");
    }
}
