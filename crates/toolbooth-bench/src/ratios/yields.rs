//! A tool that yields once.

use toolbooth_bench::stacks::{call, three, tower_three};
use toolbooth_bench::tools::YieldsOnce;

use crate::contender::{Contender, count, rounds};
use crate::measure::ratio;
use crate::report::Report;
use crate::{CALLS, ROUNDS};

pub(crate) fn run(report: &mut Report) {
    let mut bare = Contender::of(|| YieldsOnce, || ());
    let mut ours = Contender::of(|| three(YieldsOnce), call);
    let mut tower = Contender::of(|| tower_three(YieldsOnce), || ());
    rounds(ROUNDS, CALLS, &mut [&mut bare, &mut ours, &mut tower]);
    report.ratio("pending_vs_tower", ratio(&ours, &tower, &bare));
    report.nanos("pending_bare", &bare);
    report.nanos("pending_three", &ours);
    report.nanos("pending_tower_three", &tower);
    count(report, "pending_three", || three(YieldsOnce), call);
}
