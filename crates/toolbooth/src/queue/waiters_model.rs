//! The order of waiters against a model that scans all of them each time.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;
use toolbooth_core::{Moment, Name};

use super::classes::Classes;
use super::waiters::{Claim, Ticket, TicketState, Waiters};

const KEYS: [(&str, u32); 3] = [("a", 1), ("b", 1), ("c", 3)];

#[derive(Debug, Clone)]
enum Step {
    Push {
        cost: u64,
        priority: i32,
        key: usize,
    },
    Grant,
    /// Removes the waiter of this index, modulo their number.
    Leave(usize),
    Pass(u64),
}

#[derive(Debug, Clone, Copy)]
struct Rules {
    priority: bool,
    fair: bool,
    aging: Option<u64>,
}

/// All waiters in the order of arrival, the clock of each class, and the base of each flow.
#[derive(Debug, Default)]
struct Model {
    waiting: Vec<(Ticket, Claim)>,
    clocks: HashMap<i32, u128>,
    bases: HashMap<(i32, Name), u128>,
}

// === impl Rules ===

impl Rules {
    fn waiters(self) -> Waiters<u64> {
        let mut waiters = Waiters::new();
        self.reorder(&mut waiters);
        waiters
    }

    fn reorder(self, waiters: &mut Waiters<u64>) {
        let classes = (self.priority || self.fair).then(|| Classes::new(self.fair));
        waiters.reorder(classes, self.aging.map(Duration::from_nanos));
    }

    fn claim(self, now: u64, cost: u64, priority: i32, key: usize) -> Claim {
        let (key, share) = KEYS[key];
        Claim {
            since: Moment::from_nanos(now),
            until: None,
            cost,
            priority: if self.priority { priority } else { 0 },
            flow: self.fair.then(|| Box::new((Name::from(key), share))),
        }
    }
}

// === impl Model ===

impl Model {
    fn flow(claim: &Claim) -> (i32, Name) {
        let key = claim.flow.as_ref().map_or("", |flow| &flow.0);
        (claim.priority, Name::from(key))
    }

    fn tag(&self, claim: &Claim) -> u128 {
        let share = claim.flow.as_ref().map_or(1, |flow| flow.1);
        self.bases[&Self::flow(claim)] + (u128::from(claim.cost) << 32) / u128::from(share)
    }

    fn push(&mut self, ticket: Ticket, claim: Claim) {
        let clock = *self.clocks.entry(claim.priority).or_default();
        self.bases.entry(Self::flow(&claim)).or_insert(clock);
        self.waiting.push((ticket, claim));
    }

    fn first(&self, rules: Rules, now: u64) -> Option<Ticket> {
        let (oldest, claim) = self.waiting.first()?;
        let aged = |aging| claim.since.as_nanos() + aging <= now;
        if rules.aging.is_some_and(aged) {
            return Some(*oldest);
        }
        let top = self.waiting.iter().map(|(_, claim)| claim.priority).max()?;
        let mut heads: HashMap<Name, (u128, usize)> = HashMap::new();
        for (place, (_, claim)) in self.waiting.iter().enumerate() {
            if claim.priority == top {
                let (_, key) = Self::flow(claim);
                heads.entry(key).or_insert_with(|| (self.tag(claim), place));
            }
        }
        let (_, place) = heads.into_values().min()?;
        Some(self.waiting[place].0)
    }

    fn remove(&mut self, ticket: Ticket, granted: bool) {
        let mut tickets = self.waiting.iter().map(|(ticket, _)| *ticket);
        let place = tickets.position(|one| one == ticket).unwrap();
        let (_, claim) = self.waiting[place].clone();
        let flow = Self::flow(&claim);
        if granted {
            let tag = self.tag(&claim);
            let clock = self.clocks.entry(claim.priority).or_default();
            *clock = tag.max(*clock);
            self.bases.insert(flow.clone(), tag);
        }
        self.waiting.remove(place);
        if !self
            .waiting
            .iter()
            .any(|(_, claim)| Self::flow(claim) == flow)
        {
            self.bases.remove(&flow);
        }
        let mut priorities = self.waiting.iter().map(|(_, claim)| claim.priority);
        if priorities.all(|priority| priority != claim.priority) {
            self.clocks.remove(&claim.priority);
        }
    }
}

const fn rules_of(priority: bool, fair: bool) -> Rules {
    Rules {
        priority,
        fair,
        aging: None,
    }
}

fn rules() -> impl Strategy<Value = Rules> {
    (any::<bool>(), any::<bool>(), prop::option::of(0_u64..50)).prop_map(
        |(priority, fair, aging)| Rules {
            priority,
            fair,
            aging,
        },
    )
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1_u64..5, -2_i32..3, 0..KEYS.len())
            .prop_map(|(cost, priority, key)| Step::Push { cost, priority, key }),
        3 => Just(Step::Grant),
        1 => any::<usize>().prop_map(Step::Leave),
        1 => (0_u64..20).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// Whatever arrives, is granted and leaves: the next waiter is the model's.
    #[test]
    fn the_next_waiter_equals_the_model(rules in rules(), steps in steps()) {
        let (mut waiters, mut model) = (rules.waiters(), Model::default());
        let mut now = 1;
        for (ticket, step) in (0..).zip(&steps) {
            match *step {
                Step::Push { cost, priority, key } => {
                    let claim = rules.claim(now, cost, priority, key);
                    let ticket = waiters.push(claim.clone(), ticket);
                    model.push(ticket, claim);
                }
                Step::Grant => {
                    if let Some((ticket, _)) = waiters.first(Moment::from_nanos(now)) {
                        prop_assert!(waiters.grant(ticket).is_some());
                        prop_assert!(waiters.grant(ticket).is_none());
                        prop_assert_eq!(waiters.state(ticket), TicketState::Granted);
                        // Some tickets are removed later, and some never.
                        if model.waiting.len() % 2 == 0 {
                            prop_assert!(waiters.remove(ticket).is_none());
                        }
                        model.remove(ticket, true);
                    }
                }
                Step::Leave(place) if !waiters.is_empty() => {
                    let (ticket, _) = model.waiting[place % waiters.len()];
                    prop_assert!(waiters.remove(ticket).is_some());
                    prop_assert!(waiters.remove(ticket).is_none());
                    model.remove(ticket, false);
                }
                Step::Leave(_) => {}
                Step::Pass(time) => now += time,
            }
            let next = waiters.first(Moment::from_nanos(now)).map(|(ticket, _)| ticket);
            prop_assert_eq!(next, model.first(rules, now));
            prop_assert_eq!(waiters.len(), model.waiting.len());
            let cost: u64 = model.waiting.iter().map(|(_, claim)| claim.cost).sum();
            prop_assert_eq!(waiters.cost(), cost);
        }
    }

    /// A waiter that has waited long enough precedes every younger one.
    #[test]
    fn no_waiter_overtakes_an_aged_one(rules in rules(), steps in steps()) {
        let rules = Rules { aging: Some(30), ..rules };
        let (mut waiters, mut since) = (rules.waiters(), Vec::new());
        let mut now = 1;
        for step in &steps {
            match *step {
                Step::Push { cost, priority, key } => {
                    let ticket = waiters.push(rules.claim(now, cost, priority, key), 0);
                    since.push((ticket, now));
                }
                Step::Grant | Step::Leave(_) => {
                    let first = waiters.first(Moment::from_nanos(now));
                    let Some((ticket, _)) = first else { continue };
                    if let Some((oldest, _)) = since.iter().find(|(_, since)| *since + 30 <= now) {
                        prop_assert_eq!(ticket, *oldest);
                    }
                    waiters.grant(ticket);
                    waiters.remove(ticket);
                    since.retain(|(waiting, _)| *waiting != ticket);
                }
                Step::Pass(time) => now += time,
            }
        }
    }
}

proptest! {
    /// The order changes while many wait: the next waiter is chosen among all of them.
    #[test]
    fn waiters_stay_when_the_order_changes(
        changes in prop::collection::vec(
            (any::<bool>(), prop::option::of(0_u64..50), steps()),
            1..6,
        ),
    ) {
        let (mut waiters, mut waiting) = (Waiters::new(), Vec::<(Ticket, Claim, u64)>::new());
        let (mut now, mut came) = (1, 0);
        for (priority, aging, steps) in changes {
            let rules = Rules { priority, fair: false, aging };
            rules.reorder(&mut waiters);
            for step in steps {
                let next = waiters.first(Moment::from_nanos(now)).map(|(ticket, _)| ticket);
                let aged = |claim: &Claim| {
                    aging.is_some_and(|aging| claim.since.as_nanos() + aging <= now)
                };
                let first = match waiting.first() {
                    Some((_, claim, _)) if !priority || aged(claim) => waiting.first(),
                    _ => waiting.iter().rev().max_by_key(|(_, claim, _)| claim.priority),
                };
                prop_assert_eq!(next, first.map(|(ticket, ..)| *ticket));
                let waker: Vec<u64> = waiting.iter().map(|(.., waker)| *waker).collect();
                prop_assert_eq!(waiters.wakers().copied().collect::<Vec<_>>(), waker);
                let gone = match step {
                    Step::Push { cost, priority, .. } => {
                        came += 1;
                        let claim = Claim { priority, ..Claim::new(Moment::from_nanos(now), cost) };
                        waiting.push((waiters.push(claim.clone(), came), claim, came));
                        continue;
                    }
                    Step::Pass(time) => {
                        now += time;
                        continue;
                    }
                    Step::Grant => next,
                    Step::Leave(place) => {
                        let place = place.checked_rem(waiting.len());
                        place.map(|place| waiting[place].0)
                    }
                };
                if let Some(gone) = gone {
                    prop_assert!(waiters.remove(gone).is_some());
                    waiting.retain(|(ticket, ..)| *ticket != gone);
                }
            }
        }
        let heavy = waiting.iter().filter(|(_, claim, _)| claim.cost > 2);
        let heavy: Vec<u64> = heavy.map(|(.., waker)| *waker).collect();
        prop_assert_eq!(waiters.expel(2), heavy);
    }

    /// Of two keys that always have waiters, neither exceeds its share by more than the largest
    /// cost of each (Golestani, theorem 1).
    #[test]
    fn shares_are_kept_to_within_one_call(
        costs in prop::collection::vec((1_u64..5, 1_u64..5, 1_u64..5), 100..200),
    ) {
        let rules = rules_of(false, true);
        let mut waiters = rules.waiters();
        for (a, b, c) in &costs {
            for (key, cost) in [a, b, c].into_iter().enumerate() {
                waiters.push(rules.claim(1, *cost, 0, key), key as u64);
            }
        }
        let mut granted = [0_u64; 3];
        let mut left = [costs.len(); 3];
        while left.iter().all(|left| *left > 0) {
            let (ticket, cost) = waiters.first(Moment::from_nanos(1)).unwrap();
            let key = usize::try_from(waiters.grant(ticket).unwrap()).unwrap();
            granted[key] += cost;
            left[key] -= 1;
            for (one, (_, share)) in KEYS.iter().enumerate() {
                for (other, (_, others)) in KEYS.iter().enumerate() {
                    let (share, others) = (u64::from(*share), u64::from(*others));
                    let apart = (granted[one] * others).abs_diff(granted[other] * share);
                    prop_assert!(apart <= 4 * (share + others), "{:?}", granted);
                }
            }
        }
    }
}

#[test]
fn behind_a_hundred_of_one_key_the_first_of_another_is_second() {
    let rules = rules_of(false, true);
    for granted in [0, 1, 50] {
        let mut waiters = rules.waiters();
        for place in 0..100 {
            waiters.push(rules.claim(1, 1, 0, 0), place);
        }
        let now = Moment::from_nanos(1);
        for _ in 0..granted {
            let (ticket, _) = waiters.first(now).unwrap();
            waiters.grant(ticket);
        }
        waiters.push(rules.claim(1, 1, 0, 1), 1_000);
        let next = [(); 3].map(|()| {
            let (ticket, _) = waiters.first(now).unwrap();
            waiters.grant(ticket).unwrap()
        });
        assert_eq!(next, [granted, 1_000, granted + 1]);
    }
}

/// A key that returns as soon as it was granted gets its share and no more. New keys without end
/// starve no other key.
#[test]
fn new_keys_take_turns_with_a_waiting_one() {
    let rules = rules_of(false, true);
    let mut waiters = rules.waiters();
    let now = Moment::from_nanos(1);
    for place in 0..10 {
        waiters.push(rules.claim(1, 1, 0, 0), place);
    }
    let mut granted = Vec::new();
    for stranger in 100..110 {
        let mut claim = rules.claim(1, 1, 0, 0);
        claim.flow = Some(Box::new((Name::from(stranger.to_string()), 1)));
        waiters.push(claim, stranger);
        for _ in 0..2 {
            let (ticket, _) = waiters.first(now).unwrap();
            granted.push(waiters.grant(ticket).unwrap());
        }
    }
    let expected: Vec<u64> = (0..10).flat_map(|turn| [turn, 100 + turn]).collect();
    assert_eq!(granted, expected);
}

#[test]
fn a_waiter_enqueued_before_priorities_has_priority_0() {
    let rules = rules_of(true, false);
    let mut waiters = Waiters::new();
    let now = Moment::from_nanos(1);
    waiters.push(Claim::new(now, 1), 1);
    waiters.reorder(Some(Classes::new(false)), None);
    waiters.push(rules.claim(1, 1, 5, 0), 2);
    waiters.push(rules.claim(1, 1, -5, 0), 3);
    let order = [(); 3].map(|()| {
        let (ticket, _) = waiters.first(now).unwrap();
        waiters.grant(ticket).unwrap()
    });
    assert_eq!(order, [2, 1, 3]);
}

#[test]
fn ahead_is_the_cost_of_those_that_certainly_precede() {
    for (rules, expected) in [
        (rules_of(false, false), 6),
        (rules_of(true, false), 5),
        (rules_of(false, true), 4),
        (rules_of(true, true), 3),
    ] {
        let mut waiters = rules.waiters();
        waiters.push(rules.claim(1, 1, -1, 0), 0);
        waiters.push(rules.claim(1, 1, 0, 0), 1);
        waiters.push(rules.claim(1, 2, 0, 1), 2);
        waiters.push(rules.claim(1, 2, 1, 0), 3);
        assert_eq!(
            waiters.ahead(&rules.claim(1, 1, 0, 0)),
            expected,
            "{rules:?}"
        );
    }
}
