//! The rule of governor: the generic cell rate algorithm (ITU-T I.371, annex A).
//!
//! Here the time is an argument and the state is visible, so that a wait can be predicted and
//! tokens can be refunded.
//!
//! Invariant: `arrival` also selects one of the two quotas. A change writes the other quota before
//! it switches `arrival` over, and a decision takes effect only if `arrival` is unchanged. So each
//! decision uses one whole quota. The `SeqCst` update of `arrival` orders the two.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::Quota;
use toolbooth_core::Moment;

use crate::middleware::sync::atomic::{AtomicU64, Ordering};

/// How long ago a waiter may be charged for, in nanoseconds, if it was due then. The timer task is
/// less than a millisecond late; the time that its thread needs to wake up comes on top.
pub(super) const GRACE: u64 = 1_000_000;

/// The longest interval, 73 years: no sum of times overflows, which would be no limit at all.
pub(super) const LONGEST: u64 = 1 << 61;

/// The bit of `arrival` that selects the second quota. Times need 63 bits.
const SECOND: u64 = 1 << 63;

/// A token bucket. Times are nanoseconds as [`Moment`] counts them.
#[derive(Debug)]
pub(crate) struct Gcra {
    quotas: [AtomicTerms; 2],
    /// The theoretical arrival time of the next call, and the bit that selects the quota.
    arrival: AtomicU64,
}

#[derive(Debug)]
struct AtomicTerms {
    interval: AtomicU64,
    burst: AtomicU64,
}

/// A quota in the units of the rule.
#[derive(Debug, Clone, Copy)]
struct Terms {
    /// The time in which one token is replenished; 0 for no limit.
    interval: u64,
    burst: u64,
}

// === impl Gcra ===

impl Gcra {
    /// Creates a full bucket; `None` is no limit.
    pub(crate) fn new(quota: Option<Quota>) -> Self {
        Self::with_terms(Terms::of(quota))
    }

    /// Creates a full bucket of the same quota.
    pub(super) fn fresh(&self) -> Self {
        let (terms, _) = self.read(self.arrival.load(Ordering::SeqCst));
        Self::with_terms(terms)
    }

    fn with_terms(terms: Terms) -> Self {
        Self {
            quotas: [AtomicTerms::new(terms), AtomicTerms::new(terms)],
            arrival: AtomicU64::new(0),
        }
    }

    /// Changes the quota from `now` on; `None` is no limit. Tokens that are missing by then stay
    /// missing, up to the new burst. The caller serializes changes.
    pub(crate) fn set_quota(&self, quota: Option<Quota>, now: Moment) {
        let (terms, now) = (Terms::of(quota), now.as_nanos());
        self.update(|word| {
            let (before, arrival) = self.read(word);
            let other = usize::from(word & SECOND == 0);
            self.quotas[other].set(terms);
            let taken = u128::from(arrival.saturating_sub(now)) * u128::from(terms.interval);
            // Nothing is taken without a limit.
            let taken = taken.checked_div(u128::from(before.interval)).unwrap_or(0);
            let taken = u64::try_from(taken).unwrap_or(u64::MAX);
            let most = terms.weight(terms.burst);
            let arrival = now.saturating_add(taken.min(most)).min(SECOND - 1);
            arrival | (!word & SECOND)
        });
    }

    /// Returns the quota; `None` if there is no limit.
    pub(super) fn quota(&self) -> Option<Quota> {
        let (terms, _) = self.read(self.arrival.load(Ordering::SeqCst));
        let burst = NonZeroU32::new(u32::try_from(terms.burst).ok()?)?;
        let quota = Quota::with_period(Duration::from_nanos(terms.interval))?;
        Some(quota.allow_burst(burst))
    }

    /// Returns how many tokens there are.
    pub(crate) fn remaining(&self, now: Moment) -> u32 {
        let (terms, arrival) = self.read(self.arrival.load(Ordering::SeqCst));
        let now = now.as_nanos();
        let free = match now >= arrival || terms.is_unlimited() {
            true => terms.burst,
            false => match now.saturating_add(terms.tolerance()).checked_sub(arrival) {
                Some(room) => (room / terms.interval + 1).min(terms.burst),
                None => 0,
            },
        };
        u32::try_from(free).unwrap_or(u32::MAX)
    }

    /// Returns the moment at which the bucket is full, if no call takes a token until then.
    pub(super) fn full_at(&self) -> Moment {
        let (_, arrival) = self.read(self.arrival.load(Ordering::SeqCst));
        Moment::from_nanos(arrival)
    }

    /// Returns the most tokens that one call can take.
    pub(super) fn burst(&self) -> u64 {
        let (terms, _) = self.read(self.arrival.load(Ordering::SeqCst));
        terms.burst
    }

    /// Returns the earliest moment at which a call behind waiters of the cost `ahead` starts;
    /// `None` if it never does.
    pub(crate) fn due(&self, ahead: u64, cost: u64) -> Option<Moment> {
        let (terms, arrival) = self.read(self.arrival.load(Ordering::SeqCst));
        let earliest = terms.earliest(arrival, cost)?;
        Some(Moment::from_nanos(
            earliest.saturating_add(terms.weight(ahead)),
        ))
    }

    /// Takes tokens for a call that arrives at `now`.
    pub(crate) fn try_acquire(&self, cost: u64, now: Moment) -> bool {
        let now = now.as_nanos();
        self.decide(cost, |_| now).is_some()
    }

    /// Takes tokens for a waiter. Returns the moment that it was charged for.
    ///
    /// That is when it was due, up to [`GRACE`] ago, not when the timer fired. Otherwise 700 calls
    /// a second become 500, and no rate exceeds that of the timer's ticks.
    pub(crate) fn try_grant(&self, cost: u64, now: Moment) -> Option<Moment> {
        let charged = self.decide(cost, |earliest| charged_for(earliest, now));
        charged.map(Moment::from_nanos)
    }

    /// Refunds tokens that were taken at `charged`: what has not refilled since.
    ///
    /// A call that did not start then leaves no more tokens than if it had never taken any,
    /// whatever was granted in between.
    pub(crate) fn refund(&self, cost: u64, charged: Moment, now: Moment) {
        let refilled = now.as_nanos().saturating_sub(charged.as_nanos());
        self.update(|word| {
            let (terms, arrival) = self.read(word);
            let credit = terms.weight(cost).saturating_sub(refilled);
            arrival.saturating_sub(credit) | (word & SECOND)
        });
    }

    /// Takes tokens whether or not there are enough. What is missing then is at most a full bucket.
    pub(super) fn charge(&self, cost: u64, now: Moment) {
        let now = now.as_nanos();
        self.update(|word| {
            let (terms, arrival) = self.read(word);
            let most = now.saturating_add(terms.weight(terms.burst.saturating_mul(2)));
            let charged = arrival.max(now).saturating_add(terms.weight(cost));
            charged.min(most).max(arrival).min(SECOND - 1) | (word & SECOND)
        });
    }

    /// Takes tokens after others, whether or not there are enough. All that is missing refills
    /// before the next call starts.
    pub(super) fn overdraw(&self, cost: u64) {
        self.update(|word| {
            let (terms, arrival) = self.read(word);
            arrival.saturating_add(terms.weight(cost)).min(SECOND - 1) | (word & SECOND)
        });
    }

    fn read(&self, word: u64) -> (Terms, u64) {
        let quota = &self.quotas[usize::from(word & SECOND != 0)];
        (quota.get(), word & !SECOND)
    }

    fn update(&self, change: impl Fn(u64) -> u64) {
        let _ = self
            .arrival
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |word| {
                Some(change(word))
            });
    }

    /// Takes tokens if there are enough at the time that `at` returns, and returns that time. `at`
    /// is passed the earliest time at which there are enough.
    fn decide(&self, cost: u64, at: impl Fn(u64) -> u64) -> Option<u64> {
        let mut charged = 0;
        let taken = |word: u64| {
            let (terms, arrival) = self.read(word);
            let earliest = terms.earliest(arrival, cost)?;
            charged = at(earliest);
            let after = || arrival.max(charged).saturating_add(terms.weight(cost));
            (charged >= earliest).then(|| after().min(SECOND - 1) | (word & SECOND))
        };
        self.arrival
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, taken)
            .ok()?;
        Some(charged)
    }
}

/// Returns the moment for which a waiter is charged that was due at `earliest`. A later moment than
/// `now` if it is not due.
pub(super) fn charged_for(earliest: u64, now: Moment) -> u64 {
    let now = now.as_nanos();
    earliest.clamp(now.saturating_sub(GRACE), now)
}

// === impl AtomicTerms, Terms ===

impl AtomicTerms {
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
    /// A bucket that is always full.
    const UNLIMITED: Self = Self {
        interval: 0,
        burst: u64::MAX,
    };

    fn of(quota: Option<Quota>) -> Self {
        quota.map_or(Self::UNLIMITED, |quota| Self {
            interval: nanos(quota.replenish_interval()).clamp(1, LONGEST),
            burst: u64::from(quota.burst_size().get()),
        })
    }

    const fn is_unlimited(self) -> bool {
        self.interval == 0
    }

    /// Returns how far `arrival` may be ahead of the clock for one more token.
    fn tolerance(self) -> u64 {
        self.weight(self.burst - 1)
    }

    /// Returns the time in which that many tokens are replenished.
    fn weight(self, tokens: u64) -> u64 {
        self.interval.saturating_mul(tokens).min(2 * LONGEST)
    }

    /// Returns the earliest time at which there are `cost` tokens; `None` if there never are.
    fn earliest(self, arrival: u64, cost: u64) -> Option<u64> {
        if self.is_unlimited() {
            return Some(0);
        }
        let missing = self.weight(self.burst.checked_sub(cost)?);
        Some(arrival.saturating_sub(missing))
    }
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
