//! The rule against governor's own, and against a bucket that stores each token; and its bounds.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::FakeRelativeClock;
use governor::{Quota, RateLimiter};
use proptest::prelude::*;
use toolbooth_core::Moment;

use super::gcra::{GRACE, Gcra, nanos};

pub(super) fn quota(interval: u64, burst: u32) -> Quota {
    let quota = Quota::with_period(Duration::from_nanos(interval)).expect("not zero");
    quota.allow_burst(NonZeroU32::new(burst).expect("not zero"))
}

/// Every token that was taken, and when it is back: one interval after the token before it, and
/// after it was taken.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    interval: u64,
    burst: usize,
    back: Vec<u64>,
    /// Nothing is charged for an earlier time.
    since: u64,
}

impl Bucket {
    pub(super) fn new(interval: u64, burst: u32) -> Self {
        Self {
            interval,
            burst: burst as usize,
            back: Vec::new(),
            since: 0,
        }
    }

    fn missing(&self, now: u64) -> usize {
        self.back.iter().filter(|back| **back > now).count()
    }

    fn full_at(&self) -> u64 {
        self.back
            .last()
            .map_or(self.since, |last| self.since.max(*last))
    }

    /// Takes tokens that are there at `now`, and charges them at `as_of`, which may be earlier.
    pub(super) fn take(&mut self, cost: usize, now: u64, as_of: u64) -> bool {
        // Of the tokens that are back, only the last one matters.
        let gone = self.back.len() - self.missing(now);
        self.since = self.back.drain(..gone).fold(self.since, u64::max);
        if self.back.len() + cost > self.burst {
            return false;
        }
        for _ in 0..cost {
            self.back.push(self.full_at().max(as_of) + self.interval);
        }
        true
    }

    pub(super) fn take_waiting(&mut self, cost: usize, now: u64) -> bool {
        self.take(cost, now, now - GRACE)
    }

    /// Moves the return of all tokens ahead by the time in which those of the call, taken at
    /// `charged`, have not refilled.
    fn refund(&mut self, cost: u64, charged: u64, now: u64) {
        let refilled = now.saturating_sub(charged);
        let ahead = (self.interval * cost).saturating_sub(refilled);
        self.since = self.since.saturating_sub(ahead);
        self.back = self
            .back
            .iter()
            .map(|back| back.saturating_sub(ahead))
            .collect();
    }

    /// From `now` on, tokens come back at intervals of the new quota. Of the time until the next
    /// one, the same share is left, in whole nanoseconds. If more were taken than the new burst,
    /// all of the burst is missing at `now`.
    pub(super) fn change(&mut self, interval: u64, burst: u32, now: u64) {
        let next = self.back.iter().find(|back| **back > now);
        let left = next.map_or(0, |next| {
            let left = u128::from(next - now) * u128::from(interval) / u128::from(self.interval);
            u64::try_from(left).expect("less than an interval")
        });
        let (taken, burst) = (self.missing(now), burst as usize);
        let next = now + if taken > burst { interval } else { left };
        self.back = (0_u64..)
            .map(|n| next + n * interval)
            .take(taken.min(burst))
            .collect();
        (self.interval, self.burst, self.since) = (interval, burst, now);
    }

    /// Returns when there are `cost` tokens; `None` if there never are.
    pub(super) fn earliest(&self, cost: usize, now: u64) -> Option<u64> {
        let there = |time: &u64| *time >= now && self.missing(*time) + cost <= self.burst;
        [now]
            .iter()
            .chain(&self.back)
            .find(|time| there(time))
            .copied()
    }

    pub(super) fn remaining(&self, now: u64) -> usize {
        self.burst - self.missing(now)
    }

    pub(super) const fn burst(&self) -> usize {
        self.burst
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// Thousandths of the interval.
    Pass(u64),
    Take(u8),
    TakeWaiting(u8),
    /// Refunds the tokens of this call, modulo the number of calls that have some.
    Refund(usize),
    Change(u64, u32),
    Pause(u64),
}

pub(super) fn an_interval() -> impl Strategy<Value = u64> {
    // From a nanosecond to a day.
    prop_oneof![1_u64..10, 1_u64..5_000_000, 1_u64..86_400_000_000_000]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u64..2_500).prop_map(Step::Pass),
        4 => (1_u8..6).prop_map(Step::Take),
        4 => (1_u8..6).prop_map(Step::TakeWaiting),
        2 => any::<usize>().prop_map(Step::Refund),
        2 => (an_interval(), 1_u32..12).prop_map(|(interval, burst)| Step::Change(interval, burst)),
        1 => (0..2 * GRACE).prop_map(Step::Pause),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Each decision and each value read is the model's, whatever the quota was before. From a
    /// change on, no more tokens are granted than the new quota allows.
    #[test]
    fn decides_as_the_model_across_changes_of_the_quota(
        interval in an_interval(),
        burst in 1_u32..12,
        steps in prop::collection::vec(step(), 1..100),
    ) {
        let rule = Gcra::new(Some(quota(interval, burst)));
        let mut model = Bucket::new(interval, burst);
        let mut now = 1_u64 << 50;
        // The calls that have taken tokens, and what they were charged for.
        let mut held: Vec<(u8, u64)> = Vec::new();
        // When the quota was set, and how many tokens were taken since, less those refunded.
        let (mut changed, mut taken) = (now - GRACE, 0_i64);
        for step in steps {
            let at = Moment::from_nanos(now);
            match step {
                Step::Pass(share) => {
                    let pass = u128::from(model.interval) * u128::from(share) / 1_000;
                    now += u64::try_from(pass).expect("some days");
                }
                Step::Pause(pause) => now += pause,
                Step::Take(cost) | Step::TakeWaiting(cost) => {
                    let waits = matches!(step, Step::TakeWaiting(_));
                    let (admitted, expected) = match waits {
                        true => (
                            rule.try_grant(cost.into(), at),
                            model.take_waiting(cost.into(), now),
                        ),
                        false => (
                            rule.try_acquire(cost.into(), at).then_some(at),
                            model.take(cost.into(), now, now),
                        ),
                    };
                    prop_assert_eq!(admitted.is_some(), expected);
                    if let Some(charged) = admitted {
                        held.push((cost, charged.as_nanos()));
                        taken += i64::from(cost);
                    }
                }
                Step::Refund(_) if held.is_empty() => {}
                Step::Refund(which) => {
                    let (cost, charged) = held.swap_remove(which % held.len());
                    rule.refund(cost.into(), Moment::from_nanos(charged), at);
                    model.refund(cost.into(), charged, now);
                    taken -= i64::from(cost);
                }
                Step::Change(interval, burst) => {
                    rule.set_quota(Some(quota(interval, burst)), at);
                    model.change(interval, burst, now);
                    (changed, taken) = (now, 0);
                }
            }
            let at = Moment::from_nanos(now);
            prop_assert_eq!(rule.remaining(at) as usize, model.remaining(now));
            prop_assert_eq!(rule.full_at().as_nanos().max(now), model.full_at().max(now));
            for cost in [1, model.burst(), 12] {
                let due = rule.due(0, cost as u64).map(|due| due.as_nanos().max(now));
                prop_assert_eq!(due, model.earliest(cost, now));
            }
            let bound = model.burst() as u64 + (now - changed) / model.interval;
            let bound = i64::try_from(bound).expect("a small number");
            prop_assert!(taken <= bound, "{} of {}", taken, bound);
        }
    }
}

/// 100 quotas with 1,000 decisions each: every one equals governor's own.
#[test]
fn decides_as_governor_does() {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let (mut admitted, mut rejected) = (0, 0);
    for _ in 0..100 {
        let interval = 1 + random.below(2_000_000_000);
        let quota = quota(
            interval,
            1 + u32::try_from(random.below(50)).expect("below 50"),
        );
        let clock = FakeRelativeClock::default();
        let theirs = RateLimiter::direct_with_clock(quota, clock.clone());
        let ours = Gcra::new(Some(quota));
        let mut now = Moment::now();
        for decision in 0..1_000 {
            let remain = ours.remaining(now);
            let verdict = ours.try_acquire(1, now);
            assert_eq!(
                verdict,
                theirs.check().is_ok(),
                "decision {decision} of {quota:?}"
            );
            assert_eq!(verdict, remain > 0);
            *(if verdict {
                &mut admitted
            } else {
                &mut rejected
            }) += 1;
            let pause = Duration::from_nanos(random.below(1 + interval));
            clock.advance(pause);
            now = now.after(pause).expect("a few hours");
        }
    }
    assert_eq!(admitted + rejected, 100_000);
    assert!(
        admitted > 10_000 && rejected > 10_000,
        "{admitted} admitted, {rejected} rejected"
    );
}

#[test]
fn the_slowest_rate_there_can_be_is_one() {
    let slowest = Quota::with_period(Duration::MAX).expect("not zero");
    let bucket = Gcra::new(Some(
        slowest.allow_burst(NonZeroU32::new(2).expect("not zero")),
    ));
    let now = Moment::now();
    assert_eq!(
        [(); 4].map(|()| bucket.try_acquire(1, now)),
        [true, true, false, false]
    );
}

#[test]
fn due_is_the_first_instant_at_which_a_token_is_granted() {
    let bucket = Gcra::new(Some(quota(1_000, 3)));
    let start = Moment::now();
    assert!(
        bucket.try_acquire(1, start)
            && bucket.try_acquire(1, start)
            && bucket.try_acquire(1, start)
            && !bucket.try_acquire(1, start)
    );
    let due = bucket.due(0, 1).expect("a rate knows when");
    assert!(!bucket.try_acquire(1, Moment::from_nanos(due.as_nanos() - 1)));
    assert!(bucket.try_acquire(1, due));
}

proptest! {
    /// In any window at most burst + rate x (window + 1 ms), however late the timer fires.
    #[test]
    fn waiters_keep_the_bound(
        interval in 1_000_u64..5_000_000,
        burst in 1_u32..20,
        lateness in prop::collection::vec(0_u64..30_000_000, 1..200),
    ) {
        let bucket = Gcra::new(Some(quota(interval, burst)));
        let mut now = Moment::now();
        let mut admitted = Vec::new();
        for late in lateness {
            now = now.after(Duration::from_nanos(late)).expect("a few seconds");
            while admitted.len() < 5_000 && bucket.try_grant(1, now).is_some() {
                admitted.push(now);
            }
        }
        for (first, from) in admitted.iter().enumerate().step_by(37) {
            for (last, to) in admitted.iter().enumerate().skip(first).step_by(41) {
                let window = nanos(to.since(*from)) + GRACE;
                let bound = u64::from(burst) + window.div_ceil(interval);
                prop_assert!((last - first + 1) as u64 <= bound);
            }
        }
    }

    #[test]
    fn a_refund_undoes_an_acquisition(
        interval in 1_u64..1_000_000,
        burst in 1_u32..20,
        taken in 1_u32..20,
    ) {
        let bucket = Gcra::new(Some(quota(interval, burst)));
        let now = Moment::now();
        for _ in 0..taken {
            bucket.try_acquire(1, now);
        }
        let before = bucket.remaining(now);
        if bucket.try_acquire(1, now) {
            prop_assert_eq!(bucket.remaining(now), before - 1);
            bucket.refund(1, now, now);
        }
        prop_assert_eq!(bucket.remaining(now), before);
    }
}

/// A call that takes tokens and later starts, or is refunded.
#[derive(Debug, Clone)]
struct Course {
    /// Thousandths of the interval since the call before.
    pause: u64,
    cost: u8,
    waits: bool,
    /// Thousandths of the interval until it is refunded; `None` for a call that starts.
    refunded: Option<u64>,
}

fn course() -> impl Strategy<Value = Course> {
    let refunded = prop::option::of(0_u64..4_000);
    (0_u64..2_500, 1_u8..4, any::<bool>(), refunded).prop_map(|(pause, cost, waits, refunded)| {
        Course {
            pause,
            cost,
            waits,
            refunded,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// The bound counts starts: whenever tokens are refunded, no more calls are granted than by a
    /// bucket of which only the calls took that start. So its bound holds for those.
    #[test]
    fn refunds_grant_no_call_that_a_bucket_without_refunded_calls_rejects(
        interval in 1_000_u64..5_000_000,
        burst in 1_u32..12,
        calls in prop::collection::vec(course(), 1..100),
    ) {
        let new = || Gcra::new(Some(quota(interval, burst)));
        let (rule, started) = (new(), new());
        let mut now = 1_u64 << 50;
        let mut refunds: Vec<(u64, u8, Moment)> = Vec::new();
        for call in calls {
            now += interval * call.pause / 1_000;
            refunds.sort_by_key(|(at, ..)| *at);
            while let Some((at, cost, charged)) = refunds.first().copied() {
                if at > now {
                    break;
                }
                refunds.remove(0);
                rule.refund(cost.into(), charged, Moment::from_nanos(at));
            }
            let at = Moment::from_nanos(now);
            let charged = match call.waits {
                true => rule.try_grant(call.cost.into(), at),
                false => rule.try_acquire(call.cost.into(), at).then_some(at),
            };
            let Some(charged) = charged else { continue };
            match call.refunded {
                Some(after) => {
                    refunds.push((now + interval * after / 1_000, call.cost, charged));
                }
                None => prop_assert!(started.try_acquire(call.cost.into(), charged)),
            }
            prop_assert!(rule.remaining(at) <= started.remaining(at));
        }
    }
}

#[test]
fn without_a_quota_every_call_is_granted_and_the_next_quota_is_full() {
    let bucket = Gcra::new(Some(quota(1_000, 3)));
    let at = Moment::from_nanos;
    let now = 1_u64 << 50;
    assert!(bucket.try_acquire(3, at(now)) && !bucket.try_acquire(1, at(now)));
    bucket.set_quota(None, at(now));
    // Also a call with an older reading of the clock.
    assert!(bucket.try_acquire(1_000, at(now - 5)));
    assert_eq!(bucket.try_grant(u64::MAX, at(now)), Some(at(now - GRACE)));
    assert_eq!(
        (bucket.remaining(at(now)), bucket.burst()),
        (u32::MAX, u64::MAX)
    );
    bucket.refund(7, at(now), at(now));
    bucket.set_quota(Some(quota(1_000, 2)), at(now));
    assert_eq!(bucket.remaining(at(now)), 2);
    assert!(bucket.try_acquire(2, at(now)) && !bucket.try_acquire(1, at(now)));
}

/// The generator of Steele, Lea and Flood (SplitMix64): the same numbers in each run.
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
