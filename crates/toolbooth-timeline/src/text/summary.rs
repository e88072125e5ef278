//! Where the time of all calls of a tool went.

use std::collections::BTreeMap;
use std::time::Duration;

use super::duration::short;
use super::line::{Align, Line, Style};
use crate::escape::{fit, printable_name};
use crate::record::{CallRecord, PhaseKind, Timeline};

/// The sums of the calls of a tool.
#[derive(Default)]
struct Sums {
    calls: usize,
    phases: [Duration; PHASES.len()],
    longest: Duration,
    /// How many calls have each outcome.
    outcomes: BTreeMap<&'static str, usize>,
}

/// The phases that may have a column. The first two always have one.
const PHASES: [PhaseKind; 6] = [
    PhaseKind::Queue,
    PhaseKind::Run,
    PhaseKind::Idle,
    PhaseKind::Backoff,
    PhaseKind::Grace,
    PhaseKind::Cleanup,
];
/// The most tools; the others are one row.
const MAX_TOOLS: usize = 20;
/// The columns of a number or a duration, with a space before it.
const NUMBER: usize = 9;
const OTHERS: &str = "(other tools)";

/// Returns a table with a row for each tool, the one with the most time first.
pub(super) fn table(timeline: &Timeline, width: usize, color: bool) -> Vec<String> {
    let tools = sums(timeline);
    let names = tools.iter().map(|(tool, _)| fit(tool, width / 4).1);
    let name_width = names.max().unwrap_or(0).max("tool".len());
    let columns: Vec<_> = (0..PHASES.len())
        .filter(|at| *at < 2 || tools.iter().any(|(_, sums)| !sums.phases[*at].is_zero()))
        .collect();
    let mut heading = Line::new(width, color);
    heading.column(Style::Dim, "tool", name_width, Align::Left);
    heading.column(Style::Dim, "calls", NUMBER, Align::Right);
    for at in &columns {
        heading.column(Style::Dim, PHASES[*at].as_str(), NUMBER, Align::Right);
    }
    heading.column(Style::Dim, "longest", NUMBER, Align::Right);
    heading.push(Style::Dim, "  outcomes");
    let mut lines = vec![heading.finish()];
    for (tool, sums) in &tools {
        let mut line = Line::new(width, color);
        line.column(Style::Plain, tool, name_width, Align::Left);
        line.column(Style::Plain, &sums.calls.to_string(), NUMBER, Align::Right);
        for at in &columns {
            line.column(Style::Plain, &short(sums.phases[*at]), NUMBER, Align::Right);
        }
        line.column(Style::Plain, &short(sums.longest), NUMBER, Align::Right);
        line.push(Style::Plain, "  ");
        line.push(Style::Plain, &outcomes(&sums.outcomes));
        lines.push(line.finish());
    }
    lines
}

/// Returns outcomes with their numbers, such as `5 completed, 3 timed_out`.
pub(super) fn outcomes(counts: &BTreeMap<&'static str, usize>) -> String {
    let counts = counts
        .iter()
        .map(|(outcome, count)| format!("{count} {outcome}"));
    counts.collect::<Vec<_>>().join(", ")
}

fn sums(timeline: &Timeline) -> Vec<(String, Sums)> {
    let mut by_tool: BTreeMap<&str, Sums> = BTreeMap::new();
    for call in &timeline.calls {
        by_tool
            .entry(&call.tool)
            .or_default()
            .add(call, timeline.now);
    }
    let mut tools: Vec<_> = by_tool.into_iter().collect();
    tools.sort_by_key(|(_, sums)| std::cmp::Reverse(sums.phases.iter().sum::<Duration>()));
    let others = tools.split_off(tools.len().min(MAX_TOOLS));
    let mut rows: Vec<_> = tools
        .into_iter()
        .map(|(tool, sums)| (printable_name(tool).into_owned(), sums))
        .collect();
    if !others.is_empty() {
        let sums = others.into_iter().map(|(_, sums)| sums).reduce(Sums::join);
        rows.extend(sums.map(|sums| (OTHERS.to_owned(), sums)));
    }
    rows
}

// === impl Sums ===

impl Sums {
    fn add(&mut self, call: &CallRecord, now: Duration) {
        self.calls += 1;
        for (sum, kind) in self.phases.iter_mut().zip(PHASES) {
            let phases = call.phases.iter().filter(|phase| phase.kind == kind);
            let spent = phases.map(|phase| phase.end.unwrap_or(now).saturating_sub(phase.start));
            *sum = sum.saturating_add(spent.sum());
        }
        self.longest = self.longest.max(call.duration(now));
        *self.outcomes.entry(call.outcome_text()).or_default() += 1;
    }

    fn join(mut self, other: Self) -> Self {
        self.calls += other.calls;
        for (sum, other) in self.phases.iter_mut().zip(other.phases) {
            *sum = sum.saturating_add(other);
        }
        self.longest = self.longest.max(other.longest);
        for (outcome, count) in other.outcomes {
            *self.outcomes.entry(outcome).or_default() += count;
        }
        self
    }
}
