//! The expected numbers, and their comparison with the actual ones.

use toolbooth::{DrainReport, Outcome};

use crate::api::Served;
use crate::calls::{DIGESTS, Done, HURRIED, IMPORTS, LOOKUPS, SEARCHES, TICKERS};
use crate::children::Count;
use crate::table::{self, of};
use crate::tools::VALID_LINES;

/// The numbers that were not counted by the callers.
pub(crate) struct Totals {
    /// By the cleanup layer.
    pub(crate) hooks: DrainReport,
    /// By the system.
    pub(crate) children: Count,
    /// By the API.
    pub(crate) api: Served,
}

/// Returns the numbers in one line.
pub(crate) fn summary(calls: &[Done], totals: &Totals) -> String {
    let cleaned = calls.iter().filter(|done| done.is_cleaned_up()).count();
    let partial = calls
        .iter()
        .filter(|done| done.partial_items().is_some())
        .count();
    format!(
        "cleanup {cleaned}/{}, partial results {partial}, \
         API rejections {}, child processes left {}",
        calls.len(),
        totals.api.rejected,
        totals.children.left,
    )
}

/// Returns a text for each number that is not the expected one.
pub(crate) fn failed(calls: &[Done], totals: &Totals) -> Vec<String> {
    let mut failed = Vec::new();
    let mut expect = |what: &str, counted: usize, expected: usize| {
        if counted != expected {
            failed.push(format!("{what}: {counted} instead of {expected}"));
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
        expect(
            &format!("{tool} {outcome}"),
            table::count(&of(calls, tool), outcome),
            count,
        );
    }

    // Each ticker times out after at least one line. Each import fails after the valid lines.
    let partial = |tool, is_expected: fn(usize) -> bool| {
        let calls = of(calls, tool);
        calls
            .iter()
            .filter(|done| done.partial_items().is_some_and(is_expected))
            .count()
    };
    expect(
        "ticker partial results",
        partial("ticker", |lines| lines > 0),
        TICKERS,
    );
    expect(
        "import partial results",
        partial("import", |lines| lines == VALID_LINES),
        IMPORTS,
    );

    let all = calls.len();
    expect(
        "calls cleaned up",
        calls.iter().filter(|done| done.is_cleaned_up()).count(),
        all,
    );
    // One hook of the caller for each call, one for each child process, one for each file.
    let hooks = all + SEARCHES + TICKERS + IMPORTS;
    expect("hooks run", count(totals.hooks.ran), hooks);
    expect("hooks failed", count(totals.hooks.failed), 0);
    expect("hooks abandoned", count(totals.hooks.abandoned), 0);
    expect("hooks orphaned", count(totals.hooks.orphaned), 0);

    expect("API calls", totals.api.accepted, LOOKUPS);
    expect("API rejections", totals.api.rejected, 0);
    expect(
        "child processes",
        totals.children.started,
        SEARCHES + TICKERS,
    );
    expect("child processes left", totals.children.left, 0);
    failed
}

fn count(hooks: u64) -> usize {
    usize::try_from(hooks).unwrap_or(usize::MAX)
}
