//! Times, and ratios of times.

use std::cell::RefCell;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

use crate::contender::Contender;

/// The median, least and greatest value of the rounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

/// The processor time of each round, including the first one that only warms up.
#[derive(Debug, Default)]
pub(crate) struct ProcessorTime(RefCell<Vec<f64>>);

/// Divides, in each round, the overhead of `ours` over `bare` by the overhead of `theirs`.
pub(crate) fn ratio(ours: &Contender<'_>, theirs: &Contender<'_>, bare: &Contender<'_>) -> Spread {
    ratio_of_differences((ours, bare), (theirs, bare))
}

/// Divides, in each round, the difference of one pair by the difference of the other pair.
pub(crate) fn ratio_of_differences(
    ours: (&Contender<'_>, &Contender<'_>),
    theirs: (&Contender<'_>, &Contender<'_>),
) -> Spread {
    let difference = |(with, without): (&Contender<'_>, &Contender<'_>)| -> Vec<f64> {
        let rounds = with.nanos().iter().zip(without.nanos());
        rounds.map(|(with, without)| with - without).collect()
    };
    quotients(&difference(ours), &difference(theirs))
}

/// Divides, in each round, the whole time of `ours` by the whole time of `theirs`.
pub(crate) fn ratio_of(ours: &Contender<'_>, theirs: &Contender<'_>) -> Spread {
    quotients(ours.nanos(), theirs.nanos())
}

fn quotients(ours: &[f64], theirs: &[f64]) -> Spread {
    Spread::of(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs))
}

/// Returns how long `run` takes.
pub(crate) fn timed<T>(run: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    std::hint::black_box(run());
    start.elapsed()
}

/// Returns the processor time of all threads of this process, in seconds.
fn processor() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let time = Duration::try_from(time).expect("it is not negative");
    time.as_secs_f64()
}

// === impl Spread ===

impl Spread {
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        Self {
            median: values[values.len() / 2],
            min: values[0],
            max: values[values.len() - 1],
        }
    }
}

// === impl ProcessorTime ===

impl ProcessorTime {
    /// Returns how long `run` takes, and records its processor time.
    pub(crate) fn timed(&self, run: impl FnOnce()) -> Duration {
        let before = processor();
        let time = timed(run);
        self.0.borrow_mut().push(processor() - before);
        time
    }

    /// Divides, in each round after the first, the processor time of one by that of the other.
    pub(crate) fn ratio(&self, other: &Self) -> Spread {
        quotients(&self.0.borrow()[1..], &other.0.borrow()[1..])
    }

    /// Returns the nanoseconds of processor time a call, of each round after the first.
    pub(crate) fn nanos(&self, calls: u32) -> Spread {
        let rounds = self.0.borrow();
        Spread::of(
            rounds[1..]
                .iter()
                .map(|seconds| seconds * 1e9 / f64::from(calls)),
        )
    }
}

/// Counts the instructions of one call of a stack of the program `instructions`. `None` without
/// valgrind.
pub(crate) fn instructions_of_one(stack: &str, calls: u32) -> Option<f64> {
    // The difference leaves out what the program does besides.
    let [less, more] = [calls, 2 * calls].map(|calls| instructions(stack, calls));
    Some((more? - less?) / f64::from(calls))
}

fn instructions(stack: &str, calls: u32) -> Option<f64> {
    let program = std::env::current_exe().ok()?.with_file_name("instructions");
    let counted = std::process::Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([stack, &calls.to_string()])
        .output();
    let output = String::from_utf8(counted.ok()?.stderr).ok()?;
    let line = output.lines().find(|line| line.contains("Collected"))?;
    line.split_whitespace().last()?.parse().ok()
}
