//! Files of any content: reading one ends with settings, or with an error at a place of the file.
//!
//! `FUZZ_SECONDS=60 cargo test -p toolbooth-gateway --test fuzz -- --nocapture` reads files for a
//! minute, and prints how many.

mod file;
mod text;

use std::time::Duration;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError, TestRunner};
use tokio::time::Instant;

/// The cases of one run of proptest, between two looks at the clock.
const CASES: u32 = 500;

/// Runs a test `runs` times [`CASES`] times, or for as long as `FUZZ_SECONDS` has it. Inputs that
/// failed are kept in `tests/fuzz/regressions.txt`, and are run first.
#[expect(clippy::print_stdout, reason = "a test tells the number of its cases")]
fn fuzz<S: Strategy>(
    name: &'static str,
    runs: u32,
    input: &S,
    test: impl Fn(S::Value) -> Result<(), TestCaseError>,
) {
    let seconds = std::env::var("FUZZ_SECONDS").ok();
    let seconds = seconds.map(|seconds| seconds.parse().expect("FUZZ_SECONDS is a number"));
    let end = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut config = Config::with_cases(CASES);
    let kept = FileFailurePersistence::Direct("tests/fuzz/regressions.txt");
    config.failure_persistence = Some(Box::new(kept));
    let mut run = 0;
    while end.map_or(run < runs, |end| Instant::now() < end) {
        let result = TestRunner::new(config.clone()).run(input, &test);
        assert!(result.is_ok(), "{name}: {}", result.expect_err("a failure"));
        run += 1;
    }
    println!("{name}: {} cases", u64::from(run) * u64::from(CASES));
}
