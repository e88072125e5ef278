//! governor's rule (the generic cell rate algorithm, ITU-T I.371 annex A), with the time as an
//! argument and the state in the open, so that a wait can be foretold and a token given back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::Quota;
use toolbooth_core::Moment;

use crate::line::Rule;

/// tokio's timers are that late at most, and a waiter is charged for when it was due within it.
const TICK: u64 = 1_000_000;

/// Some 73 years: with it no sum of times overflows, which would be no limit at all.
const LONGEST: u64 = 1 << 61;

/// One bucket. Times are nanoseconds as [`Moment`] counts them.
#[derive(Debug)]
pub(super) struct Gcra {
    /// What one token weighs: the time in which it comes back.
    interval: u64,
    /// How far ahead of the clock the bucket may run: the burst less one.
    tolerance: u64,
    burst: u32,
    /// The theoretical arrival time of the next call.
    arrival: AtomicU64,
}

// === impl Gcra ===

impl Gcra {
    pub(super) fn new(quota: Quota) -> Self {
        let interval = nanos(quota.replenish_interval()).clamp(1, LONGEST);
        let burst = quota.burst_size().get();
        Self {
            interval,
            tolerance: interval
                .saturating_mul(u64::from(burst - 1))
                .min(2 * LONGEST),
            burst,
            arrival: AtomicU64::new(0),
        }
    }

    /// How many calls would be admitted at once.
    pub(super) fn remaining(&self, now: Moment) -> u32 {
        let arrival = self.arrival.load(Ordering::SeqCst);
        let now = now.as_nanos();
        if now >= arrival {
            return self.burst;
        }
        match now.saturating_add(self.tolerance).checked_sub(arrival) {
            Some(room) => u32::try_from(room / self.interval + 1)
                .map_or(self.burst, |free| free.min(self.burst)),
            None => 0,
        }
    }

    /// The earliest time at which a bucket of this state has a token.
    const fn earliest(&self, arrival: u64) -> u64 {
        arrival.saturating_sub(self.tolerance)
    }

    /// Takes a token for the time that `at` makes of the earliest one.
    fn decide(&self, at: impl Fn(u64) -> u64) -> bool {
        let charged = |arrival: u64| {
            let earliest = self.earliest(arrival);
            let at = at(earliest);
            (at >= earliest).then(|| arrival.max(at).saturating_add(self.interval))
        };
        self.arrival
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, charged)
            .is_ok()
    }
}

impl Rule for Gcra {
    fn admit(&self, now: impl FnOnce() -> Moment) -> bool {
        let now = now().as_nanos();
        self.decide(|_| now)
    }

    /// Charged for when it was due, not for when the timer came round to it: else 700 a second
    /// become 500, and nothing is faster than the timer. Beyond a tick, lateness is lost.
    fn admit_waiting(&self, now: Moment) -> bool {
        let now = now.as_nanos();
        self.decide(|earliest| earliest.clamp(now.saturating_sub(TICK), now))
    }

    fn refund(&self) {
        let refunded = |arrival: u64| Some(arrival.saturating_sub(self.interval));
        let _ = self
            .arrival
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, refunded);
    }

    fn due(&self, ahead: usize) -> Option<Moment> {
        let ahead = u64::try_from(ahead).unwrap_or(u64::MAX);
        let earliest = self.earliest(self.arrival.load(Ordering::SeqCst));
        let due = earliest.saturating_add(self.interval.saturating_mul(ahead));
        Some(Moment::from_nanos(due))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use governor::RateLimiter;
    use governor::clock::FakeRelativeClock;
    use proptest::prelude::*;

    use super::*;

    fn quota(interval: u64, burst: u32) -> Quota {
        let quota = Quota::with_period(Duration::from_nanos(interval)).expect("not zero");
        quota.allow_burst(NonZeroU32::new(burst).expect("not zero"))
    }

    impl Gcra {
        fn copy(&self) -> Self {
            Self {
                arrival: AtomicU64::new(self.arrival.load(Ordering::SeqCst)),
                ..*self
            }
        }
    }

    /// 100 quotas with 1,000 decisions each: equal to governor's own, one by one.
    #[test]
    fn decides_as_governor_does() {
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        let (mut admitted, mut refused) = (0, 0);
        for _ in 0..100 {
            let interval = 1 + random.below(2_000_000_000);
            let quota = quota(
                interval,
                1 + u32::try_from(random.below(50)).expect("below 50"),
            );
            let clock = FakeRelativeClock::default();
            let theirs = RateLimiter::direct_with_clock(quota, clock.clone());
            let ours = Gcra::new(quota);
            let mut now = Moment::now();
            for decision in 0..1_000 {
                let verdict = ours.admit(|| now);
                assert_eq!(
                    verdict,
                    theirs.check().is_ok(),
                    "decision {decision} of {quota:?}"
                );
                assert_eq!(ours.remaining(now) > 0, ours.copy().admit(|| now));
                *(if verdict { &mut admitted } else { &mut refused }) += 1;
                let pause = Duration::from_nanos(random.below(1 + interval));
                clock.advance(pause);
                now = now.after(pause).expect("a few hours");
            }
        }
        assert_eq!(admitted + refused, 100_000);
        assert!(
            admitted > 10_000 && refused > 10_000,
            "{admitted} admitted, {refused} refused"
        );
    }

    #[test]
    fn the_slowest_rate_there_can_be_is_one() {
        let slowest = Quota::with_period(Duration::MAX).expect("not zero");
        let bucket = Gcra::new(slowest.allow_burst(NonZeroU32::new(2).expect("not zero")));
        let now = Moment::now();
        assert_eq!(
            [(); 4].map(|()| bucket.admit(|| now)),
            [true, true, false, false]
        );
    }

    #[test]
    fn a_refusal_names_the_first_instant_at_which_it_would_not_refuse() {
        let bucket = Gcra::new(quota(1_000, 3));
        let start = Moment::now();
        assert!(
            bucket.admit(|| start)
                && bucket.admit(|| start)
                && bucket.admit(|| start)
                && !bucket.admit(|| start)
        );
        let due = bucket.due(0).expect("a rate knows when");
        assert!(!bucket.admit(|| Moment::from_nanos(due.as_nanos() - 1)));
        assert!(bucket.admit(|| due));
    }

    proptest! {
        /// In any window at most burst + rate x (window + 1 ms), however late the driver comes round.
        #[test]
        fn waiters_keep_the_bound(
            interval in 1_000_u64..5_000_000,
            burst in 1_u32..20,
            lateness in prop::collection::vec(0_u64..30_000_000, 1..200),
        ) {
            let bucket = Gcra::new(quota(interval, burst));
            let mut now = Moment::now();
            let mut admitted = Vec::new();
            for late in lateness {
                now = now.after(Duration::from_nanos(late)).expect("a few seconds");
                while admitted.len() < 5_000 && bucket.admit_waiting(now) {
                    admitted.push(now);
                }
            }
            for (first, from) in admitted.iter().enumerate().step_by(37) {
                for (last, to) in admitted.iter().enumerate().skip(first).step_by(41) {
                    let window = nanos(to.since(*from)) + TICK;
                    let bound = u64::from(burst) + window.div_ceil(interval);
                    prop_assert!((last - first + 1) as u64 <= bound);
                }
            }
        }

        #[test]
        fn a_refund_undoes_an_admission(interval in 1_u64..1_000_000, burst in 1_u32..20, taken in 1_u32..20) {
            let bucket = Gcra::new(quota(interval, burst));
            let now = Moment::now();
            for _ in 0..taken {
                bucket.admit(|| now);
            }
            let before = bucket.remaining(now);
            if bucket.admit(|| now) {
                prop_assert_eq!(bucket.remaining(now), before - 1);
                bucket.refund();
            }
            prop_assert_eq!(bucket.remaining(now), before);
        }
    }

    /// The generator of Steele, Lea and Flood (SplitMix64): enough for a test, and the same each time.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            (z ^ (z >> 31)) % bound
        }
    }
}
