//! A stack under load for an hour of the paused clock, and for seconds of the real clock.
//!
//! 100 tools and 10 tenants share nine layers. Calls complete, fail, panic, stream, hang or are
//! dropped at random. Meanwhile limits and quotas change, for all or for one tool or tenant, and
//! breakers are tripped, disabled and reset. Each call has one outcome, the sums of the events
//! hold, and everything is released.
//!
//! `SOAK_SEED` sets the seed, `SOAK_SECONDS` the duration on two threads (5 by default).

mod calls;
mod changes;
mod events;
mod toolbox;

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use calls::{Tally, caller};
use toolbox::Toolbox;

const SEED: u64 = 8;

/// The part of the simulated hour after which memory is measured.
const WARM_UP: Duration = Duration::from_secs(15 * 60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// About one call in each tenth of a second.
const PACE: (u32, Duration) = (1, Duration::from_millis(100));

/// By how much queues and maps may grow afterwards: less than a byte a call.
const MOST_MEMORY: i64 = 64 * 1_024;

fn from_env(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(value) => value.parse().expect("a number"),
        Err(_) => default,
    }
}

/// A runtime with a paused clock.
fn paused() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime")
}

/// Makes calls until `until` and waits for all of them.
fn run(
    runtime: &Runtime,
    toolbox: &Toolbox,
    seed: u64,
    pace: (u32, Duration),
    until: Instant,
) -> Tally {
    runtime.block_on(async {
        let tally = caller(toolbox, seed, pace, until).await;
        toolbox.assert_idle().await;
        tally
    })
}

#[test]
fn hour_of_calls_leaks_nothing() {
    let seed = from_env("SOAK_SEED", SEED);
    let runtime = paused();
    let (toolbox, start) = runtime.block_on(async { (Toolbox::new(), Instant::now()) });

    let mut tally = run(&runtime, &toolbox, seed, PACE, start + WARM_UP);
    let mut after = Tally::default();
    let memory = allocation_counter::measure(|| {
        after = run(&runtime, &toolbox, seed + 1, PACE, start + HOUR);
    });
    tally += after;

    println!(
        "{tally:?}; {} bytes more after {} allocations",
        memory.bytes_current, memory.count_total
    );
    assert_eq!(tally.ended(), tally.started);
    assert_eq!(toolbox.outcomes(), tally.outcomes);
    toolbox.events.assert_ended(tally.started, tally.outcomes);
    assert!(tally.every_outcome_occurred(), "{tally:?}");
    assert!(toolbox.limits.every_change_occurred());
    assert!(memory.bytes_current < MOST_MEMORY, "{memory:?}");
}

/// So that a failure can be reproduced by its seed.
#[test]
fn runs_of_one_seed_are_equal() {
    let quarter = || {
        let runtime = paused();
        let (toolbox, start) = runtime.block_on(async { (Toolbox::new(), Instant::now()) });
        let seed = from_env("SOAK_SEED", SEED);
        let tally = run(&runtime, &toolbox, seed, PACE, start + WARM_UP);
        (tally.started, tally.outcomes)
    };
    assert_eq!(quarter(), quarter());
}

#[test]
fn calls_on_two_threads_leak_nothing() {
    let seed = from_env("SOAK_SEED", SEED);
    let seconds = Duration::from_secs(from_env("SOAK_SECONDS", 5));
    let runtime = toolbooth_tests::runtime(2);
    let toolbox = runtime.block_on(async { Toolbox::new_faster(1_000) });

    let pace = (10, Duration::from_millis(1));
    let tally = run(&runtime, &toolbox, seed, pace, Instant::now() + seconds);

    println!("{tally:?}");
    assert_eq!(tally.ended(), tally.started);
    assert_eq!(toolbox.outcomes(), tally.outcomes);
    toolbox.events.assert_ended(tally.started, tally.outcomes);
}
