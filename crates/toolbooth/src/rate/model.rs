//! The rule beside governor's own, and what it promises.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::FakeRelativeClock;
use governor::{Quota, RateLimiter};
use proptest::prelude::*;
use toolbooth_core::Moment;

use super::gcra::{Gcra, TICK, nanos};
use crate::line::Rule;

fn quota(interval: u64, burst: u32) -> Quota {
    let quota = Quota::with_period(Duration::from_nanos(interval)).expect("not zero");
    quota.allow_burst(NonZeroU32::new(burst).expect("not zero"))
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
        let ours = Gcra::of(quota);
        let mut now = Moment::now();
        for decision in 0..1_000 {
            let remain = ours.remaining(now);
            let verdict = ours.admit(1, || now);
            assert_eq!(
                verdict,
                theirs.check().is_ok(),
                "decision {decision} of {quota:?}"
            );
            assert_eq!(verdict, remain > 0);
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
    let bucket = Gcra::of(slowest.allow_burst(NonZeroU32::new(2).expect("not zero")));
    let now = Moment::now();
    assert_eq!(
        [(); 4].map(|()| bucket.admit(1, || now)),
        [true, true, false, false]
    );
}

#[test]
fn a_refusal_names_the_first_instant_at_which_it_would_not_refuse() {
    let bucket = Gcra::of(quota(1_000, 3));
    let start = Moment::now();
    assert!(
        bucket.admit(1, || start)
            && bucket.admit(1, || start)
            && bucket.admit(1, || start)
            && !bucket.admit(1, || start)
    );
    let due = bucket.due(0, 1, start).expect("a rate knows when");
    assert!(!bucket.admit(1, || Moment::from_nanos(due.as_nanos() - 1)));
    assert!(bucket.admit(1, || due));
}

proptest! {
    /// In any window at most burst + rate x (window + 1 ms), however late the driver comes round.
    #[test]
    fn waiters_keep_the_bound(
        interval in 1_000_u64..5_000_000,
        burst in 1_u32..20,
        lateness in prop::collection::vec(0_u64..30_000_000, 1..200),
    ) {
        let bucket = Gcra::of(quota(interval, burst));
        let mut now = Moment::now();
        let mut admitted = Vec::new();
        for late in lateness {
            now = now.after(Duration::from_nanos(late)).expect("a few seconds");
            while admitted.len() < 5_000 && bucket.admit_waiting(1, now) {
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
        let bucket = Gcra::of(quota(interval, burst));
        let now = Moment::now();
        for _ in 0..taken {
            bucket.admit(1, || now);
        }
        let before = bucket.remaining(now);
        if bucket.admit(1, || now) {
            prop_assert_eq!(bucket.remaining(now), before - 1);
            bucket.refund(1);
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
