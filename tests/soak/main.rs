//! A toolbox under load for an hour of a paused clock, and for seconds of the real one on two threads.
//!
//! 100 tools and 10 tenants behind nine layers; calls that complete, fail, panic, stream, hang or are dropped by their
//! caller, at random. Meanwhile limits and quotas change, for all or for one tool or tenant, and breakers are tripped, disabled and reset. Whatever happens: each call has one outcome, and everything is given back.
//! `SOAK_SEED` chooses another course of events, `SOAK_SECONDS` a longer run on two threads (5 where nothing is said).

mod calls;
mod changes;
mod toolbox;

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use calls::{Tally, caller};
use toolbox::Toolbox;

const SEED: u64 = 8;

/// How much of a simulated hour goes by before the memory in use is looked at.
const WARM_UP: Duration = Duration::from_secs(15 * 60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// One call about each tenth of a second.
const PACE: (u32, Duration) = (1, Duration::from_millis(100));

/// What a queue or a map may have grown by since: not a byte for each of the calls.
const MOST_MEMORY: i64 = 64 * 1_024;

fn from_env(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(value) => value.parse().expect("a number"),
        Err(_) => default,
    }
}

/// A runtime whose clock goes on as soon as nobody has anything to do.
fn paused() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime")
}

/// Calls until `until`, and then until all of them are over.
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
fn an_hour_leaves_nothing_behind() {
    let seed = from_env("SOAK_SEED", SEED);
    let runtime = paused();
    let (toolbox, begun) = runtime.block_on(async { (Toolbox::new(), Instant::now()) });

    let mut tally = run(&runtime, &toolbox, seed, PACE, begun + WARM_UP);
    let mut after = Tally::default();
    let memory = allocation_counter::measure(|| {
        after = run(&runtime, &toolbox, seed + 1, PACE, begun + HOUR);
    });
    tally += after;

    println!(
        "{tally:?}; {} bytes more after {} allocations",
        memory.bytes_current, memory.count_total
    );
    assert_eq!(tally.ended(), tally.started);
    assert_eq!(toolbox.told(), tally.outcomes);
    assert!(tally.every_kind_happened(), "{tally:?}");
    assert!(toolbox.limits.every_change_happened());
    assert!(memory.bytes_current < MOST_MEMORY, "{memory:?}");
}

/// Else a seed that finds something would not find it again.
#[test]
fn one_seed_is_one_course_of_events() {
    let quarter = || {
        let runtime = paused();
        let (toolbox, begun) = runtime.block_on(async { (Toolbox::new(), Instant::now()) });
        let seed = from_env("SOAK_SEED", SEED);
        let tally = run(&runtime, &toolbox, seed, PACE, begun + WARM_UP);
        (tally.started, tally.outcomes)
    };
    assert_eq!(quarter(), quarter());
}

#[test]
fn two_threads_leave_nothing_behind() {
    let seed = from_env("SOAK_SEED", SEED);
    let seconds = Duration::from_secs(from_env("SOAK_SECONDS", 5));
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("a runtime");
    let toolbox = runtime.block_on(async { Toolbox::new_faster(1_000) });

    let pace = (10, Duration::from_millis(1));
    let tally = run(&runtime, &toolbox, seed, pace, Instant::now() + seconds);

    println!("{tally:?}");
    assert_eq!(tally.ended(), tally.started);
    assert_eq!(toolbox.told(), tally.outcomes);
}
