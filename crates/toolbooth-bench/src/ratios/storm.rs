//! Calls that all expire at once.

use toolbooth_bench::storm::{expire, expire_with_tokio};

use crate::contender::{Contender, rounds, runtime};
use crate::measure::ProcessorTime;
use crate::report::Report;

const CALLS: u32 = 100_000;
const ROUNDS: usize = 5;

pub(crate) fn run(report: &mut Report) {
    let calls = report.calls_or(CALLS);
    let (runtime_ours, runtime_theirs) = (runtime(), runtime());
    let (worked_ours, worked_theirs) = (ProcessorTime::default(), ProcessorTime::default());
    let mut ours =
        Contender::new(|count| worked_ours.timed(|| runtime_ours.block_on(expire(count))));
    let mut theirs = Contender::new(|count| {
        worked_theirs.timed(|| runtime_theirs.block_on(expire_with_tokio(count)))
    });
    rounds(ROUNDS, calls, &mut [&mut ours, &mut theirs]);
    report.ratio("storm", worked_ours.ratio(&worked_theirs));
    report.processor("storm", worked_ours.nanos(calls));
    report.processor("storm_tokio", worked_theirs.nanos(calls));
}
