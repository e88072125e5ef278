use std::time::Duration;

use toolbooth_core::Moment;

use crate::middleware::sync::atomic::{AtomicU64, Ordering};
use crate::queue::Rule;

/// So many at once.
#[derive(Debug)]
pub(super) struct Permits {
    limit: AtomicU64,
    in_flight: AtomicU64,
    /// How long a call takes, in nanoseconds, as far as anybody knows; 0 where nobody does.
    service: AtomicU64,
}

// === impl Permits ===

impl Permits {
    pub(super) fn is_closed(&self) -> bool {
        self.limit.load(Ordering::SeqCst) == 0
    }

    pub(super) fn in_flight(&self) -> usize {
        size(self.in_flight.load(Ordering::SeqCst))
    }

    pub(super) fn available(&self) -> usize {
        let limit = self.limit.load(Ordering::SeqCst);
        // A limit that was lowered cuts nobody who runs.
        size(limit.saturating_sub(self.in_flight.load(Ordering::SeqCst)))
    }
}

impl Rule for Permits {
    type Setting = usize;

    const TIMED: bool = false;

    fn of(limit: usize) -> Self {
        Self {
            limit: AtomicU64::new(count(limit)),
            in_flight: AtomicU64::new(0),
            service: AtomicU64::new(0),
        }
    }

    fn set(&self, limit: usize) {
        self.limit.store(count(limit), Ordering::SeqCst);
    }

    fn set_service_time(&self, about: Option<Duration>) {
        let nanos = about.unwrap_or_default().as_nanos();
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        self.service.store(nanos, Ordering::SeqCst);
    }

    fn idle_from(&self) -> Moment {
        Moment::from_nanos(0)
    }

    fn admit(&self, cost: u64, _: impl FnOnce() -> Moment) -> bool {
        let limit = self.limit.load(Ordering::SeqCst);
        let taken = |taken: u64| taken.checked_add(cost).filter(|taken| *taken <= limit);
        self.in_flight
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, taken)
            .is_ok()
    }

    fn admit_waiting(&self, cost: u64, now: Moment) -> bool {
        self.admit(cost, || now)
    }

    fn refund(&self, cost: u64) {
        self.in_flight.fetch_sub(cost, Ordering::SeqCst);
    }

    fn capacity(&self) -> u64 {
        self.limit.load(Ordering::SeqCst)
    }

    /// All who run may end at once, and then it takes one time for each limit full of those ahead.
    fn due(&self, ahead: u64, _: u64, now: Moment) -> Option<Moment> {
        let service = match self.service.load(Ordering::SeqCst) {
            0 => return None,
            service => service,
        };
        let rounds = ahead.checked_div(self.capacity())?;
        Some(Moment::from_nanos(
            now.as_nanos()
                .saturating_add(service.saturating_mul(rounds)),
        ))
    }
}

pub(super) fn count(permits: usize) -> u64 {
    u64::try_from(permits).unwrap_or(u64::MAX)
}

fn size(permits: u64) -> usize {
    usize::try_from(permits).unwrap_or(usize::MAX)
}
