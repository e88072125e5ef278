//! Sums of the events of all calls.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use toolbooth::{Event, EventKind, EventsLayer, Outcome};

use super::toolbox::{Outcomes, index};

/// How often each kind of event was delivered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sums {
    invoked: u64,
    started: u64,
    queued: u64,
    admitted: u64,
    /// How many calls ended while they waited in a queue.
    ended_queued: u64,
    /// The outcomes of the terminal events. A response that reports an error is a failure.
    outcomes: Outcomes,
    /// The calls that wait in a queue now.
    waiting: HashSet<u64>,
}

/// Sums up the events of a layer.
#[derive(Clone, Default)]
pub(crate) struct Summed(Arc<Mutex<Sums>>);

// === impl Summed ===

impl Summed {
    pub(crate) fn layer(&self) -> EventsLayer {
        let sums = Arc::clone(&self.0);
        EventsLayer::new(move |event: &Event| {
            sums.lock().expect("no panic under it").add(event);
        })
    }

    /// Asserts the sums of `invoked` calls that ended with these outcomes.
    pub(crate) fn assert_ended(&self, invoked: u64, outcomes: Outcomes) {
        let sums = self.0.lock().expect("no panic under it").clone();
        assert_eq!(
            (sums.invoked, sums.outcomes),
            (invoked, outcomes),
            "{sums:?}"
        );
        assert_eq!(sums.invoked, outcomes.iter().sum::<u64>());
        assert!(sums.started <= sums.invoked, "{sums:?}");
        assert_eq!(sums.queued, sums.admitted + sums.ended_queued, "{sums:?}");
        assert!(sums.waiting.is_empty(), "{sums:?}");
        let each = [sums.started, sums.admitted, sums.ended_queued];
        assert!(each.iter().all(|sum| *sum > 0), "{sums:?}");
    }
}

// === impl Sums ===

impl Sums {
    fn add(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Invoked { .. } => self.invoked += 1,
            EventKind::Started => self.started += 1,
            EventKind::Queued { .. } => {
                self.queued += 1;
                assert!(self.waiting.insert(event.serial), "in two queues: {event}");
            }
            EventKind::Admitted { .. } => {
                self.admitted += 1;
                assert!(self.waiting.remove(&event.serial), "in no queue: {event}");
            }
            EventKind::Completed { is_error: true, .. } => self.end(event, Outcome::Failed),
            kind => {
                if let Some(outcome) = kind.outcome() {
                    self.end(event, outcome);
                }
            }
        }
    }

    fn end(&mut self, event: &Event, outcome: Outcome) {
        self.outcomes[index(outcome)] += 1;
        self.ended_queued += u64::from(self.waiting.remove(&event.serial));
    }
}
