//! A tool whose response is ready at the first poll.

use toolbooth_bench::stacks::{
    barest_call, call, call_with_id, five, resilience_three, three, tower_three,
};
use toolbooth_bench::tools::AtOnce;

use crate::contender::{Contender, count, rounds};
use crate::measure::ratio;
use crate::report::Report;
use crate::{CALLS, ROUNDS};

pub(crate) fn run(report: &mut Report) {
    let mut bare = Contender::of(|| AtOnce, || ());
    let mut ours = Contender::of(|| three(AtOnce), call);
    let mut with_id = Contender::of(|| three(AtOnce), call_with_id);
    let mut barest = Contender::of(|| three(AtOnce), barest_call);
    let mut all = Contender::of(|| five(AtOnce), call);
    let mut all_barest = Contender::of(|| five(AtOnce), barest_call);
    let mut tower = Contender::of(|| tower_three(AtOnce), || ());
    let mut resilience = Contender::of(|| resilience_three(AtOnce), || ());
    rounds(
        ROUNDS,
        CALLS,
        &mut [
            &mut bare,
            &mut ours,
            &mut tower,
            &mut all,
            &mut resilience,
            &mut with_id,
            &mut barest,
            &mut all_barest,
        ],
    );
    report.ratio("three_vs_tower", ratio(&ours, &tower, &bare));
    report.ratio("five_vs_tower_three", ratio(&all, &tower, &bare));
    report.ratio("three_vs_resilience", ratio(&ours, &resilience, &bare));
    report.ratio("three_barest_vs_tower", ratio(&barest, &tower, &bare));
    report.ratio(
        "five_barest_vs_tower_three",
        ratio(&all_barest, &tower, &bare),
    );
    report.nanos("bare", &bare);
    report.nanos("three", &ours);
    report.nanos("three_with_id", &with_id);
    report.nanos("three_barest", &barest);
    report.nanos("five", &all);
    report.nanos("five_barest", &all_barest);
    report.nanos("tower_three", &tower);
    report.nanos("resilience_three", &resilience);
    count(report, "three", || three(AtOnce), call);
    count(report, "five", || five(AtOnce), call);
    count(report, "tower_three", || tower_three(AtOnce), || ());
    count(
        report,
        "resilience_three",
        || resilience_three(AtOnce),
        || (),
    );
}
