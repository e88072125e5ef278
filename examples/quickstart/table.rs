//! The outcomes of the calls as a table.

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
    "rejected",
    "partial results",
    "hooks run",
    "p50",
    "p99",
    "longest wait",
];

/// Returns the table, with a row for each tool.
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

/// Returns one error of each tool that failed, and the size of its partial result.
pub(crate) fn examples(calls: &[Done]) -> String {
    let mut text = String::new();
    for tool in TOOLS {
        let mut errors = of(calls, tool)
            .into_iter()
            .filter_map(|done| done.result.as_ref().err());
        let Some(error) = errors.next() else {
            continue;
        };
        text += &format!("{tool}: {error}");
        if let Some(source) = std::error::Error::source(error) {
            text += &format!(": {source}");
        }
        if let Some(partial) = error.partial() {
            let items = partial.contents().len();
            text += &format!("; partial result of {items} items");
        }
        text.push('\n');
    }
    text
}

pub(crate) fn of<'a>(calls: &'a [Done], tool: &str) -> Vec<&'a Done> {
    calls.iter().filter(|done| done.tool == tool).collect()
}

/// Returns the number of calls with an outcome.
pub(crate) fn count(calls: &[&Done], outcome: Outcome) -> usize {
    calls
        .iter()
        .filter(|done| done.outcome() == outcome)
        .count()
}

fn row(tool: &str, calls: &[&Done]) -> [String; HEAD.len()] {
    let mut took: Vec<_> = calls.iter().map(|done| done.took).collect();
    took.sort();
    let partial = calls
        .iter()
        .filter(|done| done.partial_items().is_some())
        .count();
    let hooks: u64 = calls.iter().map(|done| done.record.hooks_run()).sum();
    let longest = calls.iter().filter_map(|done| done.record.waited()).max();
    [
        tool.to_owned(),
        calls.len().to_string(),
        count(calls, Outcome::Completed).to_string(),
        count(calls, Outcome::TimedOut).to_string(),
        count(calls, Outcome::Failed).to_string(),
        count(calls, Outcome::Rejected).to_string(),
        partial.to_string(),
        hooks.to_string(),
        millis(percentile(&took, 50)),
        millis(percentile(&took, 99)),
        millis(longest),
    ]
}

/// Returns the smallest of the sorted values that `percent` percent of them do not exceed.
fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

fn millis(duration: Option<Duration>) -> String {
    duration.map_or_else(
        || "-".to_owned(),
        |duration| format!("{} ms", duration.as_millis()),
    )
}
