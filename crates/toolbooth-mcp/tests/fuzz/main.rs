//! Messages of any content: nothing panics, hangs or is left running, and each request that has an
//! id and a method gets one response, or its connection ends.
//!
//! `FUZZ_SECONDS=60 cargo test -p toolbooth-mcp --test fuzz -- --nocapture` runs each test for a
//! minute, and prints the number of its cases.
#![cfg(target_os = "linux")]

mod change;
mod envelope;
mod http;
mod memory;
mod message;
mod panics;
mod server;
mod stdio;

use std::time::Duration;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError, TestRunner};
use tokio::time::Instant;

/// The cases of one run of proptest, between two looks at the clock.
const CASES: u32 = 100;

/// The maximum growth of this process in all cases of a test, in KiB. A case sends less than 1 MiB.
const MAX_GROWTH: u64 = 128 * 1_024;

/// Runs a test `runs` times [`CASES`] times, or for as long as `FUZZ_SECONDS` has it. Each case
/// has a runtime of its own, with a paused clock. Inputs that failed are kept in
/// `tests/fuzz/regressions.txt`, and are run first.
#[expect(clippy::print_stdout, reason = "a test tells the number of its cases")]
fn fuzz<S: Strategy>(
    name: &'static str,
    runs: u32,
    input: &S,
    test: impl AsyncFn(S::Value) -> Result<(), TestCaseError>,
) {
    let seconds = std::env::var("FUZZ_SECONDS").ok();
    let seconds = seconds.map(|seconds| seconds.parse().expect("FUZZ_SECONDS is a number"));
    let end = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut config = Config::with_cases(CASES);
    let kept = FileFailurePersistence::Direct("tests/fuzz/regressions.txt");
    config.failure_persistence = Some(Box::new(kept));
    panics::count();
    let before = memory::peak();
    let mut run = 0;
    while end.map_or(run < runs, |end| Instant::now() < end) {
        let result = TestRunner::new(config.clone()).run(input, |input| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .expect("a runtime");
            let counted = panics::counted();
            runtime.block_on(test(input))?;
            // Those of tasks, which the runtime has caught.
            match panics::counted() == counted {
                true => Ok(()),
                false => Err(TestCaseError::fail("a task panicked")),
            }
        });
        assert!(result.is_ok(), "{name}: {}", result.expect_err("a failure"));
        run += 1;
    }
    let growth = memory::peak() - before;
    println!(
        "{name}: {} cases, {growth} KiB",
        u64::from(run) * u64::from(CASES)
    );
    assert!(growth < MAX_GROWTH, "{growth} KiB");
}
