//! The order against a model that looks at everybody each time.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;
use toolbooth_core::{Moment, Name};

use super::*;

const KEYS: [(&str, u32); 3] = [("a", 1), ("b", 1), ("c", 3)];

#[derive(Debug, Clone)]
enum Step {
    Push {
        cost: u64,
        priority: i32,
        key: usize,
    },
    Serve,
    /// One of those who wait, counted round.
    Leave(usize),
    Pass(u64),
}

#[derive(Debug, Clone, Copy)]
struct Rules {
    priority: bool,
    fair: bool,
    aging: Option<u64>,
}

/// Everybody in a list, in the order in which they came, and what each key of a class was served by.
#[derive(Debug, Default)]
struct Model {
    waiting: Vec<(Ticket, Who)>,
    clocks: HashMap<i32, u128>,
    bases: HashMap<(i32, Name), u128>,
}

// === impl Rules ===

impl Rules {
    fn queue(self) -> Queue<u64> {
        let mut queue = Queue::new();
        self.reorder(&mut queue);
        queue
    }

    fn reorder(self, queue: &mut Queue<u64>) {
        let classes = (self.priority || self.fair).then(|| Classes::new(self.fair));
        queue.reorder(classes, self.aging.map(Duration::from_nanos));
    }

    fn who(self, now: u64, cost: u64, priority: i32, key: usize) -> Who {
        let (key, share) = KEYS[key];
        Who {
            since: Moment::from_nanos(now),
            cost,
            priority: if self.priority { priority } else { 0 },
            flow: self.fair.then(|| Box::new((Name::from(key), share))),
        }
    }
}

// === impl Model ===

impl Model {
    fn flow(who: &Who) -> (i32, Name) {
        let key = who.flow.as_ref().map_or("", |flow| &flow.0);
        (who.priority, Name::from(key))
    }

    fn tag(&self, who: &Who) -> u128 {
        let share = who.flow.as_ref().map_or(1, |flow| flow.1);
        self.bases[&Self::flow(who)] + (u128::from(who.cost) << 32) / u128::from(share)
    }

    fn push(&mut self, ticket: Ticket, who: Who) {
        let clock = *self.clocks.entry(who.priority).or_default();
        self.bases.entry(Self::flow(&who)).or_insert(clock);
        self.waiting.push((ticket, who));
    }

    fn first(&self, rules: Rules, now: u64) -> Option<Ticket> {
        let (oldest, who) = self.waiting.first()?;
        let aged = |aging| who.since.as_nanos() + aging <= now;
        if rules.aging.is_some_and(aged) {
            return Some(*oldest);
        }
        let top = self.waiting.iter().map(|(_, who)| who.priority).max()?;
        let mut heads: HashMap<Name, (u128, usize)> = HashMap::new();
        for (place, (_, who)) in self.waiting.iter().enumerate() {
            if who.priority == top {
                let (_, key) = Self::flow(who);
                heads.entry(key).or_insert_with(|| (self.tag(who), place));
            }
        }
        let (_, place) = heads.into_values().min()?;
        Some(self.waiting[place].0)
    }

    fn remove(&mut self, ticket: Ticket, served: bool) {
        let place = self
            .waiting
            .iter()
            .position(|(one, _)| *one == ticket)
            .unwrap();
        let (_, who) = self.waiting[place].clone();
        let flow = Self::flow(&who);
        if served {
            let tag = self.tag(&who);
            let clock = self.clocks.entry(who.priority).or_default();
            *clock = tag.max(*clock);
            self.bases.insert(flow.clone(), tag);
        }
        self.waiting.remove(place);
        if !self.waiting.iter().any(|(_, who)| Self::flow(who) == flow) {
            self.bases.remove(&flow);
        }
        if !self
            .waiting
            .iter()
            .any(|(_, other)| other.priority == who.priority)
        {
            self.clocks.remove(&who.priority);
        }
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
        3 => Just(Step::Serve),
        1 => any::<usize>().prop_map(Step::Leave),
        1 => (0_u64..20).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// Whoever comes, is served and leaves: who is next is who the model says.
    #[test]
    fn next_is_who_the_rules_say(rules in rules(), steps in steps()) {
        let (mut queue, mut model) = (rules.queue(), Model::default());
        let mut now = 1;
        for (ticket, step) in (0..).zip(&steps) {
            match *step {
                Step::Push { cost, priority, key } => {
                    let who = rules.who(now, cost, priority, key);
                    let ticket = queue.push(who.clone(), ticket);
                    model.push(ticket, who);
                }
                Step::Serve => {
                    if let Some((ticket, _)) = queue.first(Moment::from_nanos(now)) {
                        prop_assert!(queue.serve(ticket).is_some());
                        prop_assert!(queue.serve(ticket).is_none());
                        prop_assert_eq!(queue.standing(ticket), Standing::Served);
                        // Some are a while in giving it back, and some for ever.
                        if model.waiting.len() % 2 == 0 {
                            prop_assert!(queue.leave(ticket).is_none());
                        }
                        model.remove(ticket, true);
                    }
                }
                Step::Leave(place) if !queue.is_empty() => {
                    let (ticket, _) = model.waiting[place % queue.len()];
                    prop_assert!(queue.leave(ticket).is_some());
                    prop_assert!(queue.leave(ticket).is_none());
                    model.remove(ticket, false);
                }
                Step::Leave(_) => {}
                Step::Pass(time) => now += time,
            }
            let next = queue.first(Moment::from_nanos(now)).map(|(ticket, _)| ticket);
            prop_assert_eq!(next, model.first(rules, now));
            prop_assert_eq!(queue.len(), model.waiting.len());
            let cost: u64 = model.waiting.iter().map(|(_, who)| who.cost).sum();
            prop_assert_eq!(queue.cost(), cost);
        }
    }

    /// Aged: who has waited long enough precedes every younger one, whoever comes.
    #[test]
    fn nobody_overtakes_an_aged_one(rules in rules(), steps in steps()) {
        let rules = Rules { aging: Some(30), ..rules };
        let (mut queue, mut since) = (rules.queue(), Vec::new());
        let mut now = 1;
        for step in &steps {
            match *step {
                Step::Push { cost, priority, key } => {
                    let ticket = queue.push(rules.who(now, cost, priority, key), 0);
                    since.push((ticket, now));
                }
                Step::Serve | Step::Leave(_) => {
                    let Some((ticket, _)) = queue.first(Moment::from_nanos(now)) else { continue };
                    if let Some((oldest, _)) = since.iter().find(|(_, since)| *since + 30 <= now) {
                        prop_assert_eq!(ticket, *oldest);
                    }
                    queue.serve(ticket);
                    queue.leave(ticket);
                    since.retain(|(waiting, _)| *waiting != ticket);
                }
                Step::Pass(time) => now += time,
            }
        }
    }
}

proptest! {
    /// The order is changed while many wait: who is next is who it is among all of them, in the order in which they came.
    #[test]
    fn who_waits_is_taken_along_into_another_order(
        changes in prop::collection::vec((any::<bool>(), prop::option::of(0_u64..50), steps()), 1..6),
    ) {
        let (mut queue, mut waiting) = (Queue::new(), Vec::<(Ticket, Who, u64)>::new());
        let (mut now, mut came) = (1, 0);
        for (priority, aging, steps) in changes {
            let rules = Rules { priority, fair: false, aging };
            rules.reorder(&mut queue);
            for step in steps {
                let next = queue.first(Moment::from_nanos(now)).map(|(ticket, _)| ticket);
                let aged = |who: &Who| aging.is_some_and(|aging| who.since.as_nanos() + aging <= now);
                let first = match waiting.first() {
                    Some((_, who, _)) if !priority || aged(who) => waiting.first(),
                    _ => waiting.iter().rev().max_by_key(|(_, who, _)| who.priority),
                };
                prop_assert_eq!(next, first.map(|(ticket, ..)| *ticket));
                let told_by: Vec<u64> = waiting.iter().map(|(.., told_by)| *told_by).collect();
                prop_assert_eq!(queue.iter().copied().collect::<Vec<_>>(), told_by);
                let gone = match step {
                    Step::Push { cost, priority, .. } => {
                        came += 1;
                        let who = Who { priority, ..Who::first_come(Moment::from_nanos(now), cost) };
                        waiting.push((queue.push(who.clone(), came), who, came));
                        continue;
                    }
                    Step::Pass(time) => {
                        now += time;
                        continue;
                    }
                    Step::Serve => next,
                    Step::Leave(place) => {
                        let place = place.checked_rem(waiting.len());
                        place.map(|place| waiting[place].0)
                    }
                };
                if let Some(gone) = gone {
                    prop_assert!(queue.leave(gone).is_some());
                    waiting.retain(|(ticket, ..)| *ticket != gone);
                }
            }
        }
        let heavy = waiting.iter().filter(|(_, who, _)| who.cost > 2);
        let heavy: Vec<u64> = heavy.map(|(.., told_by)| *told_by).collect();
        prop_assert_eq!(queue.expel(2), heavy);
    }

    /// Of two keys that always have somebody in line, neither gets ahead of its share by more than the largest cost of each
    /// (Golestani, theorem 1).
    #[test]
    fn shares_are_kept_to_within_one_call(
        costs in prop::collection::vec((1_u64..5, 1_u64..5, 1_u64..5), 100..200),
    ) {
        let rules = Rules { priority: false, fair: true, aging: None };
        let mut queue = rules.queue();
        for (a, b, c) in &costs {
            for (key, cost) in [a, b, c].into_iter().enumerate() {
                queue.push(rules.who(1, *cost, 0, key), key as u64);
            }
        }
        let mut served = [0_u64; 3];
        let mut left = [costs.len(); 3];
        while left.iter().all(|left| *left > 0) {
            let (ticket, cost) = queue.first(Moment::from_nanos(1)).unwrap();
            let key = usize::try_from(queue.serve(ticket).unwrap()).unwrap();
            served[key] += cost;
            left[key] -= 1;
            for (one, (_, share)) in KEYS.iter().enumerate() {
                for (other, (others, _)) in KEYS.iter().enumerate().map(|(at, key)| (at, (key.1, key.0))) {
                    let (share, others) = (u64::from(*share), u64::from(others));
                    let apart = (served[one] * others).abs_diff(served[other] * share);
                    prop_assert!(apart <= 4 * (share + others), "{:?}", served);
                }
            }
        }
    }
}

#[test]
fn with_a_hundred_of_one_key_the_only_one_of_another_is_second() {
    let rules = Rules {
        priority: false,
        fair: true,
        aging: None,
    };
    for served in [0, 1, 50] {
        let mut queue = rules.queue();
        for place in 0..100 {
            queue.push(rules.who(1, 1, 0, 0), place);
        }
        let now = Moment::from_nanos(1);
        for _ in 0..served {
            let (ticket, _) = queue.first(now).unwrap();
            queue.serve(ticket);
        }
        queue.push(rules.who(1, 1, 0, 1), 1_000);
        let next = [(); 3].map(|()| {
            let (ticket, _) = queue.first(now).unwrap();
            queue.serve(ticket).unwrap()
        });
        assert_eq!(next, [served, 1_000, served + 1]);
    }
}

/// A key that always comes back as soon as it was served gets its share and no more: it saved nothing up, and
/// new keys without end starve nobody.
#[test]
fn who_comes_anew_each_time_takes_turns() {
    let rules = Rules {
        priority: false,
        fair: true,
        aging: None,
    };
    let mut queue = rules.queue();
    let now = Moment::from_nanos(1);
    for place in 0..10 {
        queue.push(rules.who(1, 1, 0, 0), place);
    }
    let mut served = Vec::new();
    for stranger in 100..110 {
        let mut who = rules.who(1, 1, 0, 0);
        who.flow = Some(Box::new((Name::from(stranger.to_string()), 1)));
        queue.push(who, stranger);
        for _ in 0..2 {
            let (ticket, _) = queue.first(now).unwrap();
            served.push(queue.serve(ticket).unwrap());
        }
    }
    let expected: Vec<u64> = (0..10).flat_map(|turn| [turn, 100 + turn]).collect();
    assert_eq!(served, expected);
}

#[test]
fn who_waits_stays_when_the_order_changes() {
    let rules = Rules {
        priority: true,
        fair: false,
        aging: None,
    };
    let mut queue = Queue::new();
    let now = Moment::from_nanos(1);
    queue.push(Who::first_come(now, 1), 1);
    queue.reorder(Some(Classes::new(false)), None);
    queue.push(rules.who(1, 1, 5, 0), 2);
    queue.push(rules.who(1, 1, -5, 0), 3);
    let order = [(); 3].map(|()| {
        let (ticket, _) = queue.first(now).unwrap();
        queue.serve(ticket).unwrap()
    });
    assert_eq!(order, [2, 1, 3]);
}

#[test]
fn what_is_ahead_is_what_certainly_precedes() {
    let of = |priority, fair| Rules {
        priority,
        fair,
        aging: None,
    };
    for (rules, expected) in [
        (of(false, false), 6),
        (of(true, false), 5),
        (of(false, true), 4),
        (of(true, true), 3),
    ] {
        let mut queue = rules.queue();
        queue.push(rules.who(1, 1, -1, 0), 0);
        queue.push(rules.who(1, 1, 0, 0), 1);
        queue.push(rules.who(1, 2, 0, 1), 2);
        queue.push(rules.who(1, 2, 1, 0), 3);
        assert_eq!(queue.ahead(&rules.who(1, 1, 0, 0)), expected, "{rules:?}");
    }
}
