//! What a call through the layers costs, beside the peers, in one run.
//!
//! All contenders run in turns in one process, round after round, so that whatever else the machine does
//! hits them alike; a ratio is of overheads over the bare call in the same round.

#![expect(clippy::print_stdout, reason = "it is a program that reports")]

mod body;
mod breaker;
mod contended;
mod measure;
mod queue;
mod stacks;
mod tools;
mod waiting;

use std::fmt::Debug;

use allocation_counter::measure as allocations;
use measure::{Contender, Spread, ratio, rounds, timed};
use stacks::{call, five, resilience_three, three, tower_three};
use tokio::runtime::{Builder, Runtime};
use tools::{AtOnce, YieldsOnce};
use tower::{Service, ServiceExt};

const ROUNDS: usize = 15;
const CALLS: u32 = 100_000;

fn main() {
    let mut report = Report::default();
    ready(&mut report);
    pending(&mut report);
    contended::run(&mut report);
    body::run(&mut report);
    breaker::run(&mut report);
    queue::run(&mut report);
    println!("{}", report.lines.join("\n"));
}

/// The ratios first, then what they are made of.
#[derive(Debug, Default)]
struct Report {
    ratios: usize,
    lines: Vec<String>,
}

impl Report {
    fn ratio(&mut self, name: &str, Spread { median, min, max }: Spread) {
        let line = format!("ratio {name} {median:.3} {min:.3} {max:.3}");
        self.lines.insert(self.ratios, line);
        self.ratios += 1;
    }

    fn nanos(&mut self, name: &str, contender: &Contender<'_>) {
        let Spread { median, min, max } = contender.spread();
        self.lines
            .push(format!("nanos {name} {median:.1} {min:.1} {max:.1}"));
    }

    fn allocations(&mut self, name: &str, count: u64, bytes: u64) {
        self.lines
            .push(format!("allocations {name} {count} ({bytes} bytes)"));
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime can be built")
}

/// So many calls, one after the other, on one task.
async fn calls<R, S>(service: &mut S, request: impl Fn() -> R, calls: u32)
where
    S: Service<R>,
    S::Error: Debug,
{
    for _ in 0..calls {
        let ready = service.ready().await.expect("nothing fails here");
        ready.call(request()).await.expect("nothing fails here");
    }
}

/// A service that is called on a runtime of its own.
fn contender<'a, R: 'a, S>(
    service: impl FnOnce() -> S,
    request: impl Fn() -> R + 'a,
) -> Contender<'a>
where
    S: Service<R> + 'a,
    S::Error: Debug,
{
    let runtime = runtime();
    let mut service = runtime.block_on(async { service() });
    Contender::new(move |count| timed(|| runtime.block_on(calls(&mut service, &request, count))))
}

fn count<R, S>(
    report: &mut Report,
    name: &str,
    service: impl FnOnce() -> S,
    request: impl Fn() -> R,
) where
    S: Service<R>,
    S::Error: Debug,
{
    let runtime = runtime();
    let mut service = runtime.block_on(async { service() });
    runtime.block_on(calls(&mut service, &request, 1));
    let counted = allocations(|| runtime.block_on(calls(&mut service, &request, 1)));
    report.allocations(name, counted.count_total, counted.bytes_total);
}

/// A tool that answers at once.
fn ready(report: &mut Report) {
    let mut bare = contender(|| AtOnce, || ());
    let mut ours = contender(|| three!(AtOnce), call);
    let mut known = contender(|| three!(AtOnce), || call().with_id("call_8fj2"));
    let mut all = contender(|| five!(AtOnce), call);
    let mut tower = contender(|| tower_three!(AtOnce), || ());
    let mut resilience = contender(|| resilience_three!(AtOnce), || ());
    rounds(
        ROUNDS,
        CALLS,
        &mut [
            &mut bare,
            &mut ours,
            &mut tower,
            &mut all,
            &mut resilience,
            &mut known,
        ],
    );
    report.ratio("three_vs_tower", ratio(&ours, &tower, &bare));
    report.ratio("five_vs_tower_three", ratio(&all, &tower, &bare));
    report.ratio("three_vs_resilience", ratio(&ours, &resilience, &bare));
    report.nanos("bare", &bare);
    report.nanos("three", &ours);
    report.nanos("three_with_id", &known);
    report.nanos("five", &all);
    report.nanos("tower_three", &tower);
    report.nanos("resilience_three", &resilience);
    count(report, "three", || three!(AtOnce), call);
    count(report, "five", || five!(AtOnce), call);
    count(report, "tower_three", || tower_three!(AtOnce), || ());
    count(
        report,
        "resilience_three",
        || resilience_three!(AtOnce),
        || (),
    );
}

/// A tool that yields once.
fn pending(report: &mut Report) {
    let mut bare = contender(|| YieldsOnce, || ());
    let mut ours = contender(|| three!(YieldsOnce), call);
    let mut tower = contender(|| tower_three!(YieldsOnce), || ());
    rounds(ROUNDS, CALLS, &mut [&mut bare, &mut ours, &mut tower]);
    report.ratio("pending_vs_tower", ratio(&ours, &tower, &bare));
    report.nanos("pending_bare", &bare);
    report.nanos("pending_three", &ours);
    report.nanos("pending_tower_three", &tower);
    count(report, "pending_three", || three!(YieldsOnce), call);
}
