use std::fmt::{self, Debug, Display};
use std::time::Duration;

use toolbooth_core::{Outcome, TimeoutScope};

use crate::calls::Finished;
use crate::probe::Probe;
use crate::results::timeout_of;

/// The longest text of a response that a table shows, in characters.
const MAX_TEXT: usize = 60;

/// Prints calls that have ended as a table: tool, time of the end, outcome, response or error.
///
/// The assertions of this crate print it when they fail.
///
/// ```
/// use toolbooth::TimeoutLayer;
/// use toolbooth_test::{CallTable, Script, ScriptedTool, call, call_all, ms};
/// use tower::Layer;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let tool = ScriptedTool::scripts([Script::new().respond("42 rows"), Script::new().hang()]);
/// let tool = TimeoutLayer::new(ms(300)).layer(tool);
/// let finished = call_all(tool, [call("query"), call("query")]).await;
/// assert_eq!(
///     CallTable(&finished).to_string(),
///     "call  tool   ended   outcome    result
///    0  query  0 ms    completed  \"42 rows\"
///    1  query  300 ms  timed_out  timed out after 300ms (total limit of 300ms of `timeout`)
/// "
/// );
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
#[expect(clippy::exhaustive_structs, reason = "a wrapper to print")]
pub struct CallTable<'a>(pub &'a [Finished]);

/// Asserts that each call completed.
///
/// The calls of all assertions are one [`Finished`], or a list of them.
///
/// # Panics
/// If one did not. The message is the table of all calls.
#[track_caller]
pub fn assert_ok(finished: &(impl AsRef<[Finished]> + ?Sized)) {
    let finished = finished.as_ref();
    let expected = vec![Outcome::Completed; finished.len()];
    compare("the outcomes", &outcomes(finished), &expected, finished);
}

/// Asserts that each call ended with its outcome of `expected`, in the order of the calls.
///
/// ```should_panic
/// use toolbooth::Outcome;
/// use toolbooth_test::{FailingTool, assert_outcomes, call, call_all};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let finished = call_all(FailingTool::new(1), [call("api"), call("api")]).await;
/// assert_outcomes(&finished, [Outcome::Completed, Outcome::Failed]);
/// // Panics and prints both calls:
/// assert_outcomes(&finished, [Outcome::Completed, Outcome::Completed]);
/// # }
/// ```
///
/// # Panics
/// If an outcome or the number of calls differs. The message is the table of all calls.
#[track_caller]
pub fn assert_outcomes(
    finished: &(impl AsRef<[Finished]> + ?Sized),
    expected: impl IntoIterator<Item = Outcome>,
) {
    let finished = finished.as_ref();
    let expected: Vec<_> = expected.into_iter().collect();
    compare("the outcomes", &outcomes(finished), &expected, finished);
}

/// Asserts that each call ended at its time of `expected`, in the order of the calls.
///
/// # Panics
/// If a time or the number of calls differs. The message is the table of all calls.
#[track_caller]
pub fn assert_ended_at(
    finished: &(impl AsRef<[Finished]> + ?Sized),
    expected: impl IntoIterator<Item = Duration>,
) {
    let finished = finished.as_ref();
    let found: Vec<_> = finished.iter().map(|call| call.at).collect();
    let expected: Vec<_> = expected.into_iter().collect();
    compare("the times of the ends", &found, &expected, finished);
}

/// Asserts that each call failed because its total `limit` expired, exactly on time.
///
/// The scope is [`TimeoutScope::Total`]. Read another scope with
/// [`timeout_of`].
///
/// # Panics
/// If a call did not. The message is the table of all calls.
#[track_caller]
pub fn assert_timed_out(finished: &(impl AsRef<[Finished]> + ?Sized), limit: Duration) {
    let finished = finished.as_ref();
    let timeout = |call: &Finished| {
        let timeout = call.result.as_ref().err().and_then(timeout_of);
        (timeout, call.at)
    };
    let found: Vec<_> = finished.iter().map(timeout).collect();
    let expected = (Some((TimeoutScope::Total, limit, limit)), limit);
    let expected = vec![expected; finished.len()];
    compare("the timeouts", &found, &expected, finished);
}

/// Asserts that `calls` calls have entered a probe and all of them have left it.
///
/// # Panics
/// If not. The message has all counts of the probe.
#[track_caller]
#[expect(clippy::panic, reason = "a failed assertion")]
pub fn assert_released(probe: &Probe, calls: usize) {
    if (probe.started(), probe.finished()) != (calls, calls) {
        panic!(
            "{calls} calls should have started and finished, but {} started, {} finished, and {} \
             are still running",
            probe.started(),
            probe.finished(),
            probe.running()
        );
    }
}

fn outcomes(finished: &[Finished]) -> Vec<Outcome> {
    finished.iter().map(Finished::outcome).collect()
}

#[track_caller]
#[expect(clippy::panic, reason = "a failed assertion")]
fn compare<T: PartialEq + Debug>(what: &str, found: &[T], expected: &[T], finished: &[Finished]) {
    if found == expected {
        return;
    }
    let differs = |n: &usize| found.get(*n) != expected.get(*n);
    let rows: Vec<_> = (0..found.len().max(expected.len()))
        .filter(differs)
        .collect();
    let first = rows.first().copied().unwrap_or_default();
    panic!(
        "{what} differ in the calls {rows:?}, first {:?}, expected {:?}, of {} calls, expected {}\n\
         {}",
        found.get(first),
        expected.get(first),
        found.len(),
        expected.len(),
        CallTable(finished)
    );
}

// === impl CallTable ===

impl Display for CallTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ended = |call: &Finished| match call.at.subsec_micros() % 1_000 {
            0 => format!("{} ms", call.at.as_millis()),
            _ => format!("{:?}", call.at),
        };
        let rows = self.0.iter().map(|call| {
            let outcome = call.outcome().to_string();
            [call.tool.to_string(), ended(call), outcome, result(call)]
        });
        let mut rows: Vec<_> = rows.collect();
        rows.insert(0, ["tool", "ended", "outcome", "result"].map(str::to_owned));
        let width = |column: usize| {
            let widths = rows.iter().map(|row| row[column].chars().count());
            widths.max().unwrap_or_default()
        };
        let [tool, ended, outcome] = [width(0), width(1), width(2)];
        for (n, row) in rows.iter().enumerate() {
            match n.checked_sub(1) {
                None => f.write_str("call")?,
                Some(n) => write!(f, "{n:4}")?,
            }
            let [a, b, c, d] = row;
            writeln!(f, "  {a:tool$}  {b:ended$}  {c:outcome$}  {d}")?;
        }
        Ok(())
    }
}

/// Returns the response or the error of a call as one line.
fn result(call: &Finished) -> String {
    match &call.result {
        Ok(response) => {
            let text = response.text();
            let mut short: String = text.chars().take(MAX_TEXT).collect();
            if short.len() < text.len() {
                short.push_str("...");
            }
            format!("{short:?}")
        }
        Err(error) => {
            let partial = error.partial().map(|partial| partial.contents().len());
            let source = std::error::Error::source(error);
            let source = source.map_or_else(String::new, |source| format!(": {source}"));
            let partial = partial.map_or_else(String::new, |items| {
                format!(", {items} contents in the partial result")
            });
            format!("{error}{source}{partial}")
        }
    }
}
