//! governor's rule (the generic cell rate algorithm, ITU-T I.371 annex A), with the time as an
//! argument and the state in the open, so that a wait can be foretold and a token given back.
//!
//! Invariant: `arrival` also says which of the two quotas counts, and a change writes the other one before it swings
//! `arrival` over. So a decision that read one quota takes effect only if that one still counts: it is a quota's own, whole.

use std::time::Duration;

use governor::Quota;
use toolbooth_core::Moment;

use crate::middleware::sync::atomic::{AtomicU64, Ordering};
use crate::queue::Rule;

/// A waiter is charged for when it was due, if that was within this time: the driver's timer is less than a millisecond late,
/// and what its thread needs to wake up comes on top.
pub(super) const GRACE: u64 = 1_000_000;

/// Some 73 years: with it no sum of times overflows, which would be no limit at all.
const LONGEST: u64 = 1 << 61;

/// Which quota counts, in `arrival`, whose times need one bit less.
const SECOND: u64 = 1 << 63;

/// One bucket. Times are nanoseconds as [`Moment`] counts them.
#[derive(Debug)]
pub(super) struct Gcra {
    quotas: [Shared; 2],
    /// The theoretical arrival time of the next call; and which quota counts.
    arrival: AtomicU64,
}

#[derive(Debug)]
struct Shared {
    interval: AtomicU64,
    burst: AtomicU64,
}

/// A quota, as the rule reckons with it.
#[derive(Debug, Clone, Copy)]
struct Terms {
    /// What one token weighs: the time in which it comes back.
    interval: u64,
    burst: u64,
}

// === impl Gcra ===

impl Gcra {
    /// Another quota from `now` on: as many tokens as were taken and have not come back are so still, the whole burst at most.
    ///
    /// One change at a time.
    pub(super) fn set_quota(&self, quota: Quota, now: Moment) {
        let (terms, now) = (Terms::of(quota), now.as_nanos());
        let changed = |word: u64| {
            let (before, arrival) = self.read(word);
            let other = usize::from(word & SECOND == 0);
            self.quotas[other].set(terms);
            let taken = u128::from(arrival.saturating_sub(now)) * u128::from(terms.interval);
            let taken = u64::try_from(taken / u128::from(before.interval)).unwrap_or(u64::MAX);
            let most = terms.weight(terms.burst);
            let arrival = now.saturating_add(taken.min(most)).min(SECOND - 1);
            Some(arrival | (!word & SECOND))
        };
        let _ = self
            .arrival
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, changed);
    }

    /// How many tokens there are.
    pub(super) fn remaining(&self, now: Moment) -> u32 {
        let (terms, arrival) = self.read(self.arrival.load(Ordering::SeqCst));
        let now = now.as_nanos();
        let free = match now >= arrival {
            true => terms.burst,
            false => match now.saturating_add(terms.tolerance()).checked_sub(arrival) {
                Some(room) => (room / terms.interval + 1).min(terms.burst),
                None => 0,
            },
        };
        u32::try_from(free).unwrap_or(u32::MAX)
    }

    /// When the bucket is full, if nobody takes any more.
    pub(super) fn full_at(&self) -> Moment {
        let (_, arrival) = self.read(self.arrival.load(Ordering::SeqCst));
        Moment::from_nanos(arrival)
    }

    fn read(&self, word: u64) -> (Terms, u64) {
        let quota = &self.quotas[usize::from(word & SECOND != 0)];
        (quota.get(), word & !SECOND)
    }

    /// Takes tokens for the time that `at` makes of the earliest one at which there are so many.
    fn decide(&self, cost: u64, at: impl Fn(u64) -> u64) -> bool {
        let charged = |word: u64| {
            let (terms, arrival) = self.read(word);
            let earliest = terms.earliest(arrival, cost)?;
            let at = at(earliest);
            let after = || arrival.max(at).saturating_add(terms.weight(cost));
            (at >= earliest).then(|| after().min(SECOND - 1) | (word & SECOND))
        };
        self.arrival
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, charged)
            .is_ok()
    }
}

impl Rule for Gcra {
    type Setting = Quota;

    const TIMED: bool = true;

    fn of(quota: Quota) -> Self {
        let terms = Terms::of(quota);
        Self {
            quotas: [Shared::new(terms), Shared::new(terms)],
            arrival: AtomicU64::new(0),
        }
    }

    fn set(&self, quota: Quota) {
        self.set_quota(quota, Moment::now());
    }

    /// The rate says when a call starts, however long it takes.
    fn set_service_time(&self, _: Option<Duration>) {}

    fn idle_from(&self) -> Moment {
        self.full_at()
    }

    fn admit(&self, cost: u64, now: impl FnOnce() -> Moment) -> bool {
        let now = now().as_nanos();
        self.decide(cost, |_| now)
    }

    /// Charged for when it was due, not for when the timer came round to it: else 700 a second
    /// become 500, and nothing is faster than the timer. Lateness beyond that is lost.
    fn admit_waiting(&self, cost: u64, now: Moment) -> bool {
        let now = now.as_nanos();
        self.decide(cost, |earliest| {
            earliest.clamp(now.saturating_sub(GRACE), now)
        })
    }

    fn refund(&self, cost: u64) {
        let refunded = |word: u64| {
            let (terms, arrival) = self.read(word);
            Some(arrival.saturating_sub(terms.weight(cost)) | (word & SECOND))
        };
        let _ = self
            .arrival
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, refunded);
    }

    fn capacity(&self) -> u64 {
        let (terms, _) = self.read(self.arrival.load(Ordering::SeqCst));
        terms.burst
    }

    fn due(&self, ahead: u64, cost: u64, _: Moment) -> Option<Moment> {
        let (terms, arrival) = self.read(self.arrival.load(Ordering::SeqCst));
        let earliest = terms.earliest(arrival, cost)?;
        Some(Moment::from_nanos(
            earliest.saturating_add(terms.weight(ahead)),
        ))
    }
}

// === impl Shared, Terms ===

impl Shared {
    fn new(terms: Terms) -> Self {
        Self {
            interval: AtomicU64::new(terms.interval),
            burst: AtomicU64::new(terms.burst),
        }
    }

    fn get(&self) -> Terms {
        Terms {
            interval: self.interval.load(Ordering::Acquire),
            burst: self.burst.load(Ordering::Acquire),
        }
    }

    fn set(&self, terms: Terms) {
        self.interval.store(terms.interval, Ordering::Release);
        self.burst.store(terms.burst, Ordering::Release);
    }
}

impl Terms {
    fn of(quota: Quota) -> Self {
        Self {
            interval: nanos(quota.replenish_interval()).clamp(1, LONGEST),
            burst: u64::from(quota.burst_size().get()),
        }
    }

    /// How far ahead of the clock the bucket may run.
    fn tolerance(self) -> u64 {
        self.weight(self.burst - 1)
    }

    /// The time in which so many tokens come back.
    fn weight(self, tokens: u64) -> u64 {
        self.interval.saturating_mul(tokens).min(2 * LONGEST)
    }

    /// The earliest time at which a bucket of this state has so many tokens; `None` if it never has.
    fn earliest(self, arrival: u64, cost: u64) -> Option<u64> {
        let missing = self.weight(self.burst.checked_sub(cost)?);
        Some(arrival.saturating_sub(missing))
    }
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
