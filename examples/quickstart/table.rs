//! What became of the calls, for people to read.

use std::time::Duration;

use toolbooth::Outcome;

use crate::calls::Done;

const TOOLS: [&str; 5] = ["search", "ticker", "lookup", "digest", "import"];
const HEAD: [&str; 11] = [
    "tool",
    "calls",
    "completed",
    "timed out",
    "failed",
    "refused",
    "partial results kept",
    "hooks run",
    "p50",
    "p99",
    "longest wait",
];

/// A row for each tool.
pub(crate) fn by_tool(calls: &[Done]) -> String {
    let mut rows = vec![HEAD.map(String::from)];
    rows.extend(TOOLS.map(|tool| row(tool, &of(calls, tool))));
    rows.push(row("all", &calls.iter().collect::<Vec<_>>()));

    let width = |column: usize| rows.iter().map(|row| row[column].len()).max();
    let widths: Vec<_> = (0..HEAD.len()).filter_map(width).collect();
    let mut text = String::new();
    for row in &rows {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            text += &match column {
                0 => format!("{cell:<width$}"),
                _ => format!("  {cell:>width$}"),
            };
        }
        text.push('\n');
    }
    text
}

/// For each tool that had some, an error and what was kept by then.
pub(crate) fn examples(calls: &[Done]) -> String {
    let mut text = String::new();
    for tool in TOOLS {
        let mut errors = of(calls, tool)
            .into_iter()
            .filter_map(|done| done.answer.as_ref().err());
        let Some(error) = errors.next() else {
            continue;
        };
        text += &format!("{tool}: {error}");
        if let Some(source) = std::error::Error::source(error) {
            text += &format!(": {source}");
        }
        if let Some(partial) = error.partial() {
            let kept = partial.contents().len();
            text += &format!("; {kept} pieces kept");
        }
        text.push('\n');
    }
    text
}

pub(crate) fn of<'a>(calls: &'a [Done], tool: &str) -> Vec<&'a Done> {
    calls.iter().filter(|done| done.tool == tool).collect()
}

/// How many of the calls ended like this.
pub(crate) fn ended(calls: &[&Done], outcome: Outcome) -> usize {
    calls
        .iter()
        .filter(|done| done.outcome() == outcome)
        .count()
}

fn row(tool: &str, calls: &[&Done]) -> [String; HEAD.len()] {
    let mut took: Vec<_> = calls.iter().map(|done| done.took).collect();
    took.sort();
    let kept = calls.iter().filter(|done| done.kept().is_some()).count();
    let hooks: u64 = calls.iter().map(|done| done.record.hooks_run()).sum();
    let longest = calls.iter().filter_map(|done| done.record.waited()).max();
    [
        tool.to_owned(),
        calls.len().to_string(),
        ended(calls, Outcome::Completed).to_string(),
        ended(calls, Outcome::TimedOut).to_string(),
        ended(calls, Outcome::Failed).to_string(),
        ended(calls, Outcome::Rejected).to_string(),
        kept.to_string(),
        hooks.to_string(),
        shown(percentile(&took, 50)),
        shown(percentile(&took, 99)),
        shown(longest),
    ]
}

/// The least of the sorted values that so many percent of them do not exceed.
fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

fn shown(duration: Option<Duration>) -> String {
    duration.map_or_else(
        || "-".to_owned(),
        |duration| format!("{} ms", duration.as_millis()),
    )
}
