//! Compares the state machine with the reference model.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "the numbers are small"
)]

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use proptest::prelude::*;
use toolbooth_core::{LimitId, Moment};

use super::change::BreakerState;
use super::policy::{BreakerPolicy, Over};
use super::reference::{Call, Model, Settings};
use super::rule::{Rejected, Rule, Verdict};

#[derive(Debug, Clone)]
enum Step {
    Advance(u64),
    Admit,
    /// Admits a call inside of one of the running calls: in the same attempt, or a child of it.
    AdmitInside(usize, bool),
    /// Ends one of the running calls: its index, its verdict, and its duration in milliseconds.
    End(usize, Verdict, u64),
    State,
    Trip,
    Reset,
    Disable,
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
                let call = Call {
                    now: moment,
                    outer: None,
                    is_same_attempt: false,
                };
                let generation = equal(rule.admit(&call), model.admit(number, now))?;
                admitted.extend(generation.map(|generation| (number, generation)));
            }
            Step::AdmitInside(which, is_same_attempt) => {
                let outer = admitted.iter().nth(which % admitted.len().max(1));
                let Some((outer, generation)) = outer else {
                    continue;
                };
                let call = Call {
                    now: moment,
                    outer: Some(*generation),
                    is_same_attempt,
                };
                let expected = model.admit_inside(*outer, is_same_attempt, number, now);
                let generation = equal(rule.admit(&call), expected)?;
                admitted.extend(generation.map(|generation| (number, generation)));
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
                rule.reset();
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

/// Compares the results of an admission, and returns the generation of a call that is counted.
fn equal(
    actual: Result<Option<LimitId>, Rejected>,
    expected: Result<bool, Option<u64>>,
) -> Result<Option<LimitId>, TestCaseError> {
    let is_counted = actual.map(|generation| generation.is_some());
    prop_assert_eq!(
        is_counted.map_err(|rejected| rejected.retry_after),
        expected.map_err(|after| after.map(millis))
    );
    Ok(actual.ok().flatten())
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
        1 => (1..60_u64).prop_map(|time| Verdict::CoolDown(millis(time))),
    ];
    prop_oneof![
        8 => Just(Step::Admit),
        2 => (any::<usize>(), any::<bool>())
            .prop_map(|(outer, is_same_attempt)| Step::AdmitInside(outer, is_same_attempt)),
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
    prop_oneof![25 => step_of_calls(4, 4), 1 => by_hand]
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
    let call = Call {
        now,
        outer: None,
        is_same_attempt: false,
    };
    let generation = rule.admit(&call).ok().flatten().expect("it is closed");
    for call in 0..1_000_000_u32 {
        let failed = call % 1_000 < 499;
        let verdict = if failed {
            Verdict::Failure
        } else {
            Verdict::Success
        };
        // Starts with successes: 10 failures alone would open it.
        if call >= 500 {
            rule.record(generation, verdict, Duration::ZERO, || now);
        }
    }
    assert_eq!(rule.state(now), BreakerState::Closed);
    // The window has 499 failures, then 501 successes. Each further call replaces a failure.
    for _ in 0..499 {
        rule.record(generation, Verdict::Failure, Duration::ZERO, || now);
        assert_eq!(rule.state(now), BreakerState::Closed);
    }
    rule.record(generation, Verdict::Failure, Duration::ZERO, || now);
    assert_eq!(rule.state(now), BreakerState::Open);
    Ok(())
}

#[test]
fn undelivered_changes_are_merged() {
    let mut rule = Rule::new(BreakerPolicy::new());
    for _ in 0..1_000 {
        rule.trip(Moment::from_nanos(1));
        rule.reset();
    }
    rule.disable();
    let changes: Vec<_> = std::iter::from_fn(|| rule.next_change()).collect();
    assert_eq!(changes.len(), 64);
    assert!(changes.windows(2).all(|two| two[0].to == two[1].from));
    assert_eq!(changes[63].to, BreakerState::Disabled);
}
