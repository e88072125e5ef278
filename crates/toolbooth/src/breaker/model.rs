//! Compares the state machine with a model that stores all calls and counts them each time.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "the numbers are small"
)]

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use proptest::prelude::*;
use toolbooth_core::Moment;

use super::policy::{BreakerPolicy, Over};
use super::rule::{BreakerState, Rule, Verdict};

/// The policy, in milliseconds and plain numbers.
#[derive(Debug, Clone)]
struct Settings {
    in_a_row: Option<usize>,
    /// The rate in hundredths, and its window.
    failures: Option<(u32, Over)>,
    /// The duration of a slow call in milliseconds, the rate in hundredths, and its window.
    slow: Option<(u64, u32, Over)>,
    minimum: u32,
    open: u64,
    growth: Option<(u64, u64)>,
    probes: u32,
    limit: u64,
}

#[derive(Debug, Clone)]
enum Step {
    Advance(u64),
    Admit,
    /// Ends one of the running calls: its index, its verdict, and its duration in milliseconds.
    End(usize, Verdict, u64),
    State,
    Trip,
    Reset,
    Disable,
}

// === the model ===

struct Model {
    settings: Settings,
    state: BreakerState,
    /// The end of the open time, while open.
    until: u64,
    /// The time since which probes have been running, while half-open.
    since: u64,
    succeeded: usize,
    opened: u32,
    /// The calls that were admitted since the last change and still run.
    running: HashSet<usize>,
    /// The calls that ended since the last change: time, failed, slow.
    ended: Vec<(u64, bool, bool)>,
}

impl Model {
    fn to(&mut self, state: BreakerState) {
        (self.state, self.succeeded) = (state, 0);
        self.running.clear();
        self.ended.clear();
    }

    fn open(&mut self, now: u64) {
        self.opened += 1;
        let grown = self.settings.growth.map_or(0, |(factor, max)| {
            (self.settings.open * factor.saturating_pow(self.opened - 1)).min(max)
        });
        self.until = now + self.settings.open.max(grown);
        self.to(BreakerState::Open);
    }

    fn close(&mut self) {
        self.opened = 0;
        self.to(BreakerState::Closed);
    }

    fn catch_up(&mut self, now: u64) {
        let expiry = self.since + self.settings.limit;
        if self.state == BreakerState::HalfOpen && !self.running.is_empty() && expiry <= now {
            self.open(expiry);
        }
        if self.state == BreakerState::Open && self.until <= now {
            self.to(BreakerState::HalfOpen);
        }
    }

    fn admit(&mut self, call: usize, now: u64) -> Result<(), Option<u64>> {
        self.catch_up(now);
        let probes = self.running.len() + self.succeeded;
        match self.state {
            BreakerState::Open => return Err(Some(self.until - now)),
            BreakerState::HalfOpen if probes >= self.settings.probes as usize => return Err(None),
            BreakerState::HalfOpen if self.running.is_empty() => self.since = now,
            _ => {}
        }
        self.running.insert(call);
        Ok(())
    }

    fn end(&mut self, call: usize, verdict: Verdict, took: u64, now: u64) {
        if self.state == BreakerState::HalfOpen {
            self.catch_up(now);
        }
        let slow = self.settings.slow.is_some_and(|(slow, ..)| took >= slow);
        if !self.running.remove(&call) || verdict == Verdict::None {
            return;
        }
        let failed = verdict == Verdict::Failure;
        match self.state {
            BreakerState::HalfOpen if failed || slow => self.open(now),
            BreakerState::HalfOpen => {
                self.succeeded += 1;
                if self.succeeded == self.settings.probes as usize {
                    self.close();
                }
            }
            BreakerState::Closed => {
                self.ended.push((now, failed, slow));
                if self.trips(now) {
                    self.open(now);
                }
            }
            _ => {}
        }
    }

    fn trips(&self, now: u64) -> bool {
        let settings = &self.settings;
        let row = self.ended.iter().rev().take_while(|call| call.1).count();
        let in_a_row = match (settings.in_a_row, settings.failures, settings.slow) {
            (None, None, None) => Some(5),
            (given, ..) => given,
        };
        let over = |hundredths: u32, over: Over, hit: fn(&&(u64, bool, bool)) -> bool| {
            let (window, minimum) = match over {
                Over::Calls(calls) => (calls as usize, settings.minimum.min(calls)),
                // The current tenth, and the nine before it.
                Over::Time(time) => {
                    let tenth = time.as_millis() as u64 / 10;
                    let inside = |call: &&(u64, bool, bool)| call.0 / tenth + 10 > now / tenth;
                    let calls = self.ended.iter().rev().take_while(inside).count();
                    (calls, settings.minimum)
                }
            };
            let calls: Vec<_> = self.ended.iter().rev().take(window).collect();
            let hits = calls.iter().copied().filter(hit).count();
            calls.len() >= minimum as usize
                && hits > 0
                && hits * 100 >= hundredths as usize * calls.len()
        };
        in_a_row.is_some_and(|limit| row >= limit)
            || settings
                .failures
                .is_some_and(|(rate, window)| over(rate, window, |call| call.1))
            || settings
                .slow
                .is_some_and(|(_, rate, window)| over(rate, window, |call| call.2))
    }
}

// === comparison ===

fn millis(time: u64) -> Duration {
    Duration::from_millis(time)
}

fn policy(settings: &Settings) -> Result<BreakerPolicy, crate::ConfigError> {
    let mut policy = BreakerPolicy::new()
        .with_minimum_calls(settings.minimum)
        .with_open_time(millis(settings.open))
        .with_half_open_limit(millis(settings.limit))?
        .with_probes(settings.probes)?;
    if let Some(failures) = settings.in_a_row {
        policy = policy.with_consecutive_failures(failures as u32)?;
    }
    if let Some((rate, over)) = settings.failures {
        policy = policy.with_failure_rate(f64::from(rate) / 100.0, over)?;
    }
    if let Some((slow, rate, over)) = settings.slow {
        policy = policy.with_slow_calls(millis(slow), f64::from(rate) / 100.0, over)?;
    }
    if let Some((factor, max)) = settings.growth {
        policy = policy.with_open_growth(factor as f64, millis(max))?;
    }
    Ok(policy)
}

fn compare(settings: Settings, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut rule = Rule::new(policy(&settings).expect("the settings are valid"));
    let mut model = Model {
        settings,
        state: BreakerState::Closed,
        until: 0,
        since: 0,
        succeeded: 0,
        opened: 0,
        running: HashSet::new(),
        ended: Vec::new(),
    };
    let mut now = 1_000;
    let mut admitted = BTreeMap::new();
    let mut last = BreakerState::Closed;
    for (number, step) in steps.into_iter().enumerate() {
        let moment = Moment::from_nanos(now * 1_000_000);
        match step {
            Step::Advance(time) => now += time,
            Step::Admit => {
                let actual = rule.admit(|| moment);
                let expected = model.admit(number, now);
                let retry_after = |after: Option<u64>| after.map(millis);
                prop_assert_eq!(
                    actual.map(|_| ()).map_err(|rejected| rejected.retry_after),
                    expected.map_err(retry_after)
                );
                admitted.extend(actual.ok().map(|generation| (number, generation)));
            }
            Step::End(which, verdict, took) => {
                let call = admitted.keys().nth(which % admitted.len().max(1)).copied();
                if let Some((call, generation)) = call.and_then(|call| admitted.remove_entry(&call))
                {
                    rule.record(generation, verdict, millis(took), || moment);
                    model.end(call, verdict, took, now);
                }
            }
            Step::State => {
                model.catch_up(now);
                prop_assert_eq!(rule.state(moment), model.state);
            }
            Step::Trip => {
                rule.trip(moment);
                model.catch_up(now);
                model.open(now);
            }
            Step::Reset => {
                rule.close();
                model.close();
            }
            Step::Disable => {
                rule.disable();
                model.to(BreakerState::Disabled);
            }
        }
        // The changes form a chain without gaps.
        while let Some(change) = rule.next_change() {
            prop_assert_eq!(change.from, last);
            prop_assert_ne!(change.from, change.to);
            last = change.to;
        }
    }
    Ok(())
}

fn over() -> impl Strategy<Value = Over> {
    prop_oneof![
        (1..12_u32).prop_map(Over::Calls),
        (1..20_u64).prop_map(|tens| Over::Time(millis(tens * 10))),
    ]
}

fn settings() -> impl Strategy<Value = Settings> {
    let rate = || prop_oneof![Just(0), Just(100), 1..100_u32];
    (
        proptest::option::of(1..6_usize),
        proptest::option::of((rate(), over())),
        proptest::option::of((1..20_u64, rate(), over())),
        0..8_u32,
        0..60_u64,
        proptest::option::of((1..4_u64, 0..300_u64)),
        1..4_u32,
        1..80_u64,
    )
        .prop_map(
            |(in_a_row, failures, slow, minimum, open, growth, probes, limit)| Settings {
                in_a_row,
                failures,
                slow,
                minimum,
                open,
                growth,
                probes,
                limit,
            },
        )
}

fn step_of_calls(succeed: u32, fail: u32) -> impl Strategy<Value = Step> {
    let verdict = prop_oneof![
        succeed => Just(Verdict::Success),
        fail => Just(Verdict::Failure),
        1 => Just(Verdict::None),
    ];
    prop_oneof![
        8 => Just(Step::Admit),
        8 => (any::<usize>(), verdict, 0..25_u64)
            .prop_map(|(which, verdict, took)| Step::End(which, verdict, took)),
        5 => (1..40_u64).prop_map(Step::Advance),
        2 => Just(Step::State),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let by_hand = prop_oneof![
        1 => Just(Step::Trip),
        1 => Just(Step::Disable),
        2 => Just(Step::Reset),
    ];
    prop_oneof![23 => step_of_calls(4, 4), 1 => by_hand]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn equals_the_model(
        settings in settings(),
        steps in proptest::collection::vec(step(), 1..100),
    ) {
        compare(settings, steps)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Without changes by hand, so that windows fill and probes end.
    #[test]
    fn equals_the_model_without_changes_by_hand(
        settings in settings(),
        steps in proptest::collection::vec(step_of_calls(4, 4), 100..250),
    ) {
        compare(settings, steps)?;
    }

    /// Closed with a full window of calls, so that the gate ignores successes that change nothing.
    #[test]
    fn equals_the_model_while_most_calls_succeed(
        settings in settings(),
        rate in 20..100_u32,
        calls in 2..8_u32,
        steps in proptest::collection::vec(step_of_calls(9, 3), 100..250),
    ) {
        let failures = Some((rate, Over::Calls(calls)));
        compare(Settings { in_a_row: None, slow: None, failures, ..settings }, steps)?;
    }
}

#[test]
fn window_of_calls_is_exact_after_a_million_calls() -> Result<(), crate::ConfigError> {
    // 499 of 1,000 calls failed, in any order. One more failure is half of them.
    let policy = BreakerPolicy::new().with_failure_rate(0.5, 1_000)?;
    let mut rule = Rule::new(policy);
    let now = Moment::from_nanos(1);
    for call in 0..1_000_000_u32 {
        let failed = call % 1_000 < 499;
        let verdict = if failed {
            Verdict::Failure
        } else {
            Verdict::Success
        };
        // Starts with successes: 10 failures alone would open it.
        if call >= 500 {
            rule.record(0, verdict, Duration::ZERO, || now);
        }
    }
    assert_eq!(rule.state(now), BreakerState::Closed);
    // The window has 499 failures, then 501 successes. Each further call replaces a failure.
    for _ in 0..499 {
        rule.record(0, Verdict::Failure, Duration::ZERO, || now);
        assert_eq!(rule.state(now), BreakerState::Closed);
    }
    rule.record(0, Verdict::Failure, Duration::ZERO, || now);
    assert_eq!(rule.state(now), BreakerState::Open);
    Ok(())
}

#[test]
fn undelivered_changes_are_merged() {
    let mut rule = Rule::new(BreakerPolicy::new());
    for _ in 0..1_000 {
        rule.trip(Moment::from_nanos(1));
        rule.close();
    }
    rule.disable();
    let changes: Vec<_> = std::iter::from_fn(|| rule.next_change()).collect();
    assert_eq!(changes.len(), 64);
    assert!(changes.windows(2).all(|two| two[0].to == two[1].from));
    assert_eq!(changes[63].to, BreakerState::Disabled);
}
