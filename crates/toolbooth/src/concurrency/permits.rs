use tokio::time::Instant;

use crate::line::Rule;

/// So many at once.
#[derive(Debug)]
pub(super) struct Permits {
    limit: usize,
    in_flight: usize,
}

// === impl Permits ===

impl Permits {
    pub(super) const fn new(limit: usize) -> Self {
        Self {
            limit,
            in_flight: 0,
        }
    }

    pub(super) const fn limit(&self) -> usize {
        self.limit
    }

    pub(super) const fn in_flight(&self) -> usize {
        self.in_flight
    }
}

impl Rule for Permits {
    fn admit(&mut self, _: Instant) -> bool {
        let free = self.in_flight < self.limit;
        self.in_flight += usize::from(free);
        free
    }

    fn admit_waiting(&mut self, now: Instant) -> bool {
        self.admit(now)
    }

    fn refund(&mut self) {
        self.in_flight -= 1;
    }

    fn due(&self, _: usize) -> Option<Instant> {
        None
    }
}
