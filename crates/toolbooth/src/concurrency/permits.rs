use std::sync::atomic::{AtomicUsize, Ordering};

use toolbooth_core::Moment;

use crate::line::Rule;

/// So many at once.
#[derive(Debug)]
pub(super) struct Permits {
    limit: usize,
    in_flight: AtomicUsize,
}

// === impl Permits ===

impl Permits {
    pub(super) const fn new(limit: usize) -> Self {
        Self {
            limit,
            in_flight: AtomicUsize::new(0),
        }
    }

    pub(super) const fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::SeqCst)
    }
}

impl Rule for Permits {
    fn admit(&self, _: impl FnOnce() -> Moment) -> bool {
        let one_more = |taken: usize| (taken < self.limit).then_some(taken + 1);
        self.in_flight
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more)
            .is_ok()
    }

    fn admit_waiting(&self, now: Moment) -> bool {
        self.admit(|| now)
    }

    fn refund(&self) {
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
    }

    fn due(&self, _: usize) -> Option<Moment> {
        None
    }
}
