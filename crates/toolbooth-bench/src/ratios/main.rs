//! Compares what a call through the layers costs with the peers: `ratios [<line>] [<calls>]`.
//!
//! All contenders run in turns in one process, round after round, so that load on the machine
//! affects them alike. A ratio divides overheads over the bare call of the same round.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it is a program that reports"
)]

mod agent;
mod body;
mod breaker;
mod contended;
mod contender;
mod events;
mod keys;
mod measure;
mod memory;
mod queue;
mod rate_wait;
mod ready;
mod report;
mod storm;
mod toolbox;
mod yields;

use std::process::ExitCode;

use report::Report;

/// Rounds of a line, unless the line sets its own number.
const ROUNDS: usize = 15;

/// Calls of a round, unless the line sets its own number.
const CALLS: u32 = 100_000;

/// Each line by its name, in the order in which all of them run.
const LINES: [(&str, fn(&mut Report)); 14] = [
    ("ready", ready::run),
    ("yields", yields::run),
    ("agent", agent::run),
    ("keys_two_threads", keys::run),
    ("contended", contended::run),
    ("body", body::run),
    ("breaker", breaker::run),
    ("events", events::run),
    ("toolbox", toolbox::run),
    ("queue", queue::run),
    ("waiter_bytes", queue::waiter_bytes),
    ("rate_wait", rate_wait::run),
    ("storm", storm::run),
    ("memory", memory::run),
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let chosen = arguments.next().filter(|line| line != "ratios");
    let mut report = Report::new(arguments.next().and_then(|calls| calls.parse().ok()));
    let lines = LINES
        .iter()
        .filter(|(name, _)| chosen.as_ref().is_none_or(|chosen| chosen == name));
    let mut ran = 0;
    for (_, run) in lines {
        run(&mut report);
        ran += 1;
    }
    if ran == 0 {
        let names = LINES.map(|(name, _)| name).join(", ");
        eprintln!("usage: ratios [<line>] [<calls>], where <line> is one of {names}");
        return ExitCode::FAILURE;
    }
    println!("{report}");
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::LINES;

    #[test]
    fn readme_lists_every_line() {
        let readme = include_str!("../../README.md");
        for (name, _) in LINES {
            assert!(readme.contains(&format!("\n| `{name}` |")), "{name}");
        }
    }
}
