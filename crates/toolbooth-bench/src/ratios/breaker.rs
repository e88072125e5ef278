//! A closed circuit breaker, compared with the peer's, and with windows of 1,000 and 1,000,000
//! calls.

use std::time::Duration;

use toolbooth::breaker::CircuitBreaker;
use toolbooth::{BreakerPolicy, CircuitBreakerLayer, ConfigError, PartialResultLayer};
use toolbooth_bench::stacks::{breaker, call};
use toolbooth_bench::tools::AtOnce;
use tower::Layer;
use tower_resilience::circuitbreaker::CircuitBreakerLayer as Resilience;

use crate::contender::{Contender, count, rounds};
use crate::measure::{ratio, ratio_of, ratio_of_differences};
use crate::report::Report;
use crate::{CALLS, ROUNDS};

/// Wraps a tool in the peer's breaker, which opens when half of the last 100 calls failed.
fn resilience() -> impl tower::Service<(), Response = (), Error: std::fmt::Debug> {
    let layer = Resilience::builder()
        .failure_rate_threshold(0.5)
        .sliding_window_size(100)
        .build();
    layer.expect("the settings are valid").layer(AtOnce)
}

fn with(policy: Result<BreakerPolicy, ConfigError>) -> CircuitBreaker<AtOnce> {
    let policy = policy.expect("the settings are valid");
    CircuitBreakerLayer::with_policy(policy).layer(AtOnce)
}

pub(crate) fn run(report: &mut Report) {
    let mut bare = Contender::of(|| AtOnce, || ());
    let mut rate = Contender::of(|| breaker(AtOnce), call);
    let mut in_a_row = Contender::of(|| CircuitBreakerLayer::new().layer(AtOnce), call);
    let mut peer = Contender::of(resilience, || ());
    // Inside of another layer, which has created the state of the attempt already.
    let mut other = Contender::of(|| PartialResultLayer::new().layer(AtOnce), call);
    let mut both = Contender::of(|| PartialResultLayer::new().layer(breaker(AtOnce)), call);
    rounds(
        ROUNDS,
        CALLS,
        &mut [
            &mut bare,
            &mut rate,
            &mut in_a_row,
            &mut peer,
            &mut other,
            &mut both,
        ],
    );
    report.ratio("breaker_vs_resilience", ratio(&rate, &peer, &bare));
    let added = ratio_of_differences((&both, &other), (&peer, &bare));
    report.ratio("breaker_added_vs_resilience", added);
    report.nanos("breaker_rate", &rate);
    report.nanos("breaker_in_a_row", &in_a_row);
    report.nanos("breaker_inside_of_another", &both);
    report.nanos("another", &other);
    report.nanos("breaker_resilience", &peer);
    count(report, "breaker_rate", || breaker(AtOnce), call);
    count(report, "breaker_resilience", resilience, || ());

    growth(report);
}

/// Compares a call with 1,000,000 records in the window with a call with 1,000: in a window of
/// calls, and in a window of time, which also counts the calls of the rounds.
fn growth(report: &mut Report) {
    let hour = Duration::from_secs(3_600);
    let window = |calls: u32| with(BreakerPolicy::new().with_failure_rate(0.5, calls));
    let time = || with(BreakerPolicy::new().with_failure_rate(0.5, hour));
    let mut few = filled(|| window(1_000), 1_000);
    let mut many = filled(|| window(1_000_000), 1_000_000);
    rounds(ROUNDS, CALLS, &mut [&mut few, &mut many]);
    report.ratio("breaker_growth", ratio_of(&many, &few));
    report.nanos("breaker_window_1k", &few);
    report.nanos("breaker_window_1m", &many);
    let mut few = filled(time, 1_000);
    let mut many = filled(time, 1_000_000);
    rounds(ROUNDS, 1_000, &mut [&mut few, &mut many]);
    report.ratio("breaker_growth_time", ratio_of(&many, &few));
    report.nanos("breaker_hour_1k", &few);
    report.nanos("breaker_hour_1m", &many);
}

/// Returns a contender that has made `calls` calls before it is timed.
fn filled<'a, S>(service: impl FnOnce() -> S, calls: u32) -> Contender<'a>
where
    S: tower::Service<toolbooth::ToolCall, Error: std::fmt::Debug> + 'a,
{
    let mut contender = Contender::of(service, call);
    contender.warm_up(calls);
    contender
}
