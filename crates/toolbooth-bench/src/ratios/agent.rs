//! Limits as an agent configures them: timeout and concurrency for each tool, rate for each tenant.

use toolbooth_bench::stacks::{agent, call, resilience_three};
use toolbooth_bench::tools::AtOnce;

use crate::contender::{Contender, count, rounds};
use crate::measure::ratio;
use crate::report::Report;
use crate::{CALLS, ROUNDS};

pub(crate) fn run(report: &mut Report) {
    let mut bare = Contender::of(|| AtOnce, || ());
    let mut ours = Contender::of(|| agent(AtOnce), call);
    let mut peer = Contender::of(|| resilience_three(AtOnce), || ());
    rounds(ROUNDS, CALLS, &mut [&mut bare, &mut ours, &mut peer]);
    report.ratio("agent_vs_resilience", ratio(&ours, &peer, &bare));
    report.nanos("agent", &ours);
    report.nanos("agent_resilience", &peer);
    count(report, "agent", || agent(AtOnce), call);
}
