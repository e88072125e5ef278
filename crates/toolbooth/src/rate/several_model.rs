//! A window against a list of all its starts, and several rules together against each on its own.

use std::time::Duration;

use proptest::prelude::*;
use toolbooth_core::Moment;

use super::gcra::{GRACE, Gcra};
use super::model::{Bucket, quota};
use super::several::Several;
use super::window::{Window, WindowTerms};

/// All starts of a window and their costs.
#[derive(Debug, Clone)]
struct Starts {
    calls: u64,
    period: u64,
    all: Vec<(u64, u64)>,
}

impl Starts {
    fn new(calls: u64, period: u64) -> Self {
        let all = Vec::new();
        Self { calls, period, all }
    }

    fn taken(&self, now: u64) -> u64 {
        let counts = self.all.iter().filter(|(at, _)| at + self.period > now);
        counts.map(|(_, cost)| cost).sum()
    }

    fn has_room(&self, cost: u64, now: u64) -> bool {
        self.taken(now) + cost <= self.calls
    }

    fn take(&mut self, cost: u64, now: u64) {
        self.all.push((now, cost));
    }

    fn earliest(&self, cost: u64, now: u64) -> Option<u64> {
        let ends = self.all.iter().map(|(at, _)| at + self.period);
        let times = [now].into_iter().chain(ends.filter(|end| *end > now));
        times.filter(|time| self.has_room(cost, *time)).min()
    }

    fn refund(&mut self, cost: u64, charged: u64) {
        let taken = self.all.iter().position(|start| *start == (charged, cost));
        self.all.remove(taken.expect("it was taken"));
    }
}

fn window(calls: u64, period: u64) -> Window {
    let period = Duration::from_nanos(period);
    Window::new(WindowTerms { calls, period })
}

#[derive(Debug, Clone)]
enum Step {
    /// Thousandths of the period.
    Pass(u64),
    Take(u64),
    TakeWaiting(u64),
    /// Refunds the call of this index, modulo their number.
    Refund(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u64..400).prop_map(Step::Pass),
        4 => (1_u64..5).prop_map(Step::Take),
        2 => (1_u64..5).prop_map(Step::TakeWaiting),
        2 => any::<usize>().prop_map(Step::Refund),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_window_decides_as_the_list_of_its_starts(
        calls in 1_u64..12,
        period in 1_u64..5_000_000_000,
        steps in prop::collection::vec(step(), 1..100),
    ) {
        let (mut rule, mut model) = (window(calls, period), Starts::new(calls, period));
        let mut now = 1_u64 << 50;
        let mut held = Vec::new();
        for step in steps {
            let at = Moment::from_nanos(now);
            match step {
                Step::Pass(share) => now += period * share / 1_000,
                Step::Take(cost) | Step::TakeWaiting(cost) => {
                    let earliest = rule.earliest(cost);
                    let there = earliest.is_some_and(|earliest| earliest <= now);
                    prop_assert_eq!(there, model.has_room(cost, now));
                    if there {
                        rule.record(cost, at);
                        model.take(cost, now);
                        held.push((cost, now));
                    }
                }
                Step::Refund(_) if held.is_empty() => {}
                Step::Refund(which) => {
                    let (cost, charged) = held.swap_remove(which % held.len());
                    rule.refund(cost, Moment::from_nanos(charged), at);
                    model.refund(cost, charged);
                }
            }
            let at = Moment::from_nanos(now);
            prop_assert_eq!(rule.remaining(at), calls.saturating_sub(model.taken(now)));
            for cost in 1..14 {
                let earliest = rule.earliest(cost).map(|earliest| earliest.max(now));
                prop_assert_eq!(earliest, model.earliest(cost, now));
            }
            // With the model's starts: more than the window never holds at once.
            prop_assert!(model.taken(now) <= calls);
        }
    }

    /// Waiters of cost 1 start exactly when predicted.
    #[test]
    fn a_window_predicts_when_waiters_start(
        calls in 1_u64..6,
        period in 1_000_u64..5_000_000,
        pauses in prop::collection::vec(0_u64..3_000, 0..6),
        waiters in 1_u64..20,
    ) {
        let mut rule = window(calls, period);
        let mut now = 1_u64 << 50;
        for pause in pauses {
            now += pause * period / 1_000;
            if rule.earliest(1).is_some_and(|earliest| earliest <= now) {
                rule.record(1, Moment::from_nanos(now));
            }
        }
        let predict = |ahead| rule.due(ahead, 1, Moment::from_nanos(now));
        let predicted: Vec<_> = (0..waiters).map(predict).collect();
        for due in predicted {
            let start = rule.earliest(1).expect("it is not too heavy").max(now);
            prop_assert_eq!(due.map(|due| due.max(now)), Some(start));
            now = start;
            rule.record(1, Moment::from_nanos(now));
        }
    }

    /// Two quotas and a window: a call takes of all or of none, and starts when the last one lets
    /// it.
    #[test]
    fn several_rules_decide_as_each_of_them_and_together(
        first in (1_000_000_u64..9_000_000, 1_u32..6),
        second in (9_000_000_u64..90_000_000, 1_u32..9),
        (calls, period) in (1_u64..7, 1_000_000_u64..50_000_000),
        steps in prop::collection::vec(step(), 1..100),
    ) {
        let mut rule = Several {
            first: Gcra::new(Some(quota(first.0, first.1))),
            quotas: vec![Gcra::new(Some(quota(second.0, second.1)))],
            windows: vec![window(calls, period)],
            paused_until: Moment::from_nanos(0),
        };
        let mut buckets = [Bucket::new(first.0, first.1), Bucket::new(second.0, second.1)];
        let mut starts = Starts::new(calls, period);
        let mut now = 1_u64 << 50;
        for step in steps {
            let at = Moment::from_nanos(now);
            match step {
                Step::Pass(share) => now += period * share / 1_000,
                Step::Take(cost) | Step::TakeWaiting(cost) => {
                    let tokens = usize::try_from(cost).expect("small");
                    let mut earliest = starts.earliest(cost, now);
                    for bucket in &buckets {
                        let due = bucket.earliest(tokens, now);
                        earliest = earliest.zip(due).map(|(one, other)| one.max(other));
                    }
                    let due = rule.due(0, cost, at).map(|due| due.as_nanos().max(now));
                    prop_assert_eq!(due, earliest);
                    let charged = match step {
                        Step::Take(_) => rule.try_acquire(cost, at).then_some(at),
                        _ => rule.try_grant(cost, at),
                    };
                    prop_assert_eq!(charged.is_some(), earliest == Some(now));
                    if let Some(charged) = charged.map(Moment::as_nanos) {
                        prop_assert!(charged <= now && charged + GRACE >= now);
                        for bucket in &mut buckets {
                            prop_assert!(bucket.take(tokens, now, charged));
                        }
                        starts.take(cost, now);
                    }
                }
                // What refunds do is tested for each rule.
                Step::Refund(_) => {}
            }
            let at = Moment::from_nanos(now);
            let mut remaining = calls - starts.taken(now);
            for bucket in &buckets {
                remaining = remaining.min(bucket.remaining(now) as u64);
            }
            prop_assert_eq!(u64::from(rule.remaining(at)), remaining);
        }
    }

    /// All rules refund what a call took of each.
    #[test]
    fn several_rules_refund_together(
        interval in 1_u64..1_000_000,
        burst in 1_u32..20,
        calls in 1_u64..20,
        taken in 1_u32..20,
    ) {
        let mut rule = Several {
            first: Gcra::new(None),
            quotas: vec![Gcra::new(Some(quota(interval, burst)))],
            windows: vec![window(calls, 1_000_000)],
            paused_until: Moment::from_nanos(0),
        };
        let now = Moment::from_nanos(1 << 50);
        for _ in 0..taken {
            rule.try_acquire(1, now);
        }
        let before = rule.remaining(now);
        if rule.try_acquire(1, now) {
            prop_assert_eq!(rule.remaining(now), before - 1);
            rule.refund(1, now, now);
        }
        prop_assert_eq!(rule.remaining(now), before);
        prop_assert_eq!(rule.capacity(), calls.min(burst.into()));
    }
}

#[test]
fn nothing_is_granted_during_a_pause() {
    let mut rule = Several {
        first: Gcra::new(Some(quota(1_000, 3))),
        quotas: Vec::new(),
        windows: Vec::new(),
        paused_until: Moment::from_nanos(0),
    };
    let at = |nanos: u64| Moment::from_nanos((1 << 50) + nanos);
    rule.paused_until = at(5_000);
    assert!(!rule.try_acquire(1, at(4_999)));
    assert_eq!(rule.due(0, 1, at(0)), Some(at(5_000)));
    assert_eq!(
        (rule.remaining(at(4_999)), rule.remaining(at(5_000))),
        (0, 3)
    );
    assert_eq!(rule.full_at(), at(5_000));
    // Waiters are charged for the end of the pause, not for an earlier time.
    assert_eq!(rule.try_grant(1, at(4_999)), None);
    assert_eq!(rule.try_grant(1, at(5_100)), Some(at(5_000)));
    assert_eq!(rule.remaining(at(5_100)), 2);
}

/// An entry up to a millisecond after the moment that the quotas were charged for.
#[test]
fn a_window_refunds_the_entry_of_a_waiter_that_was_charged_for_an_earlier_moment() {
    let mut rule = Several {
        first: Gcra::new(Some(quota(1_000_000, 1))),
        quotas: Vec::new(),
        windows: vec![window(2, 1_000_000_000)],
        paused_until: Moment::from_nanos(0),
    };
    let at = |nanos: u64| Moment::from_nanos((1 << 50) + nanos);
    assert!(rule.try_acquire(1, at(0)));
    let charged = rule.try_grant(1, at(1_400_000));
    assert_eq!(charged, Some(at(1_000_000)));
    assert_eq!(rule.windows[0].remaining(at(1_400_000)), 0);
    rule.refund(1, at(1_000_000), at(1_400_000));
    assert_eq!(rule.windows[0].remaining(at(1_400_000)), 1);
    // The entry of the first call leaves first.
    assert_eq!(rule.windows[0].remaining(at(1_000_000_000)), 2);
    // Nothing is left to refund by then.
    rule.windows[0].refund(1, at(0), at(1_000_000_000));
    assert_eq!(rule.windows[0].remaining(at(1_000_000_000)), 2);
}
