//! What is promised of the numbers, and which of them are not as promised.

use toolbooth::{DrainReport, Outcome};

use crate::api::Served;
use crate::calls::{DIGESTS, Done, HURRIED, IMPORTS, LOOKUPS, SEARCHES, TICKERS};
use crate::children::Count;
use crate::table::{ended, of};
use crate::tools::GOOD_LINES;

/// What was counted by others than the callers.
pub(crate) struct Totals {
    /// By the cleanup layer.
    pub(crate) hooks: DrainReport,
    /// By the system.
    pub(crate) children: Count,
    /// By the API.
    pub(crate) api: Served,
}

/// The numbers in one line.
pub(crate) fn line(calls: &[Done], totals: &Totals) -> String {
    let cleaned = calls.iter().filter(|done| done.is_cleaned_up()).count();
    let kept = calls.iter().filter(|done| done.kept().is_some()).count();
    format!(
        "cleanup {cleaned}/{}, partial results kept {kept}, API refusals {}, child processes left {}",
        calls.len(),
        totals.api.refused,
        totals.children.left,
    )
}

/// What is not as promised, in words.
pub(crate) fn broken(calls: &[Done], totals: &Totals) -> Vec<String> {
    let mut broken = Vec::new();
    let mut promise = |what: &str, counted: usize, promised: usize| {
        if counted != promised {
            broken.push(format!("{what}: {counted} instead of {promised}"));
        }
    };

    for (tool, outcome, count) in [
        ("search", Outcome::Completed, SEARCHES),
        ("ticker", Outcome::TimedOut, TICKERS),
        ("lookup", Outcome::Completed, LOOKUPS),
        ("lookup", Outcome::Rejected, HURRIED),
        ("digest", Outcome::Completed, DIGESTS),
        ("import", Outcome::Failed, IMPORTS),
    ] {
        promise(
            &format!("{tool} {outcome}"),
            ended(&of(calls, tool), outcome),
            count,
        );
    }

    // Every ticker was cut after at least one line, every import after the good ones.
    let kept = |tool, enough: fn(usize) -> bool| {
        let calls = of(calls, tool);
        calls
            .iter()
            .filter(|done| done.kept().is_some_and(enough))
            .count()
    };
    promise(
        "ticker partial results",
        kept("ticker", |lines| lines > 0),
        TICKERS,
    );
    promise(
        "import partial results",
        kept("import", |lines| lines == GOOD_LINES),
        IMPORTS,
    );

    let all = calls.len();
    promise(
        "calls cleaned up",
        calls.iter().filter(|done| done.is_cleaned_up()).count(),
        all,
    );
    // The caller's hook for each call; the child's end, the file's removal.
    let hooks = all + SEARCHES + TICKERS + IMPORTS;
    promise("hooks run", count(totals.hooks.ran), hooks);
    promise("hooks failed", count(totals.hooks.failed), 0);
    promise("hooks abandoned", count(totals.hooks.abandoned), 0);
    promise("hooks orphaned", count(totals.hooks.orphaned), 0);

    promise("API answers", totals.api.answered, LOOKUPS);
    promise("API refusals", totals.api.refused, 0);
    promise(
        "child processes",
        totals.children.started,
        SEARCHES + TICKERS,
    );
    promise("child processes left", totals.children.left, 0);
    broken
}

fn count(hooks: u64) -> usize {
    usize::try_from(hooks).unwrap_or(usize::MAX)
}
