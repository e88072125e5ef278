//! The results of both orders of two layers, as a table.

use std::fmt;
use std::time::Duration;

/// Two layers in both orders.
pub(crate) struct Pair {
    /// The heading of each order.
    pub(crate) orders: [&'static str; 2],
    /// The calls that both orders received.
    pub(crate) scenario: &'static str,
    pub(crate) rows: Vec<Row>,
    /// The reason of the differences.
    pub(crate) why: &'static str,
}

/// One observation in both orders.
pub(crate) struct Row {
    what: &'static str,
    observed: [String; 2],
    expected: [&'static str; 2],
}

// === impl Pair ===

impl Pair {
    /// Returns a text for each row that differs from the expected values.
    pub(crate) fn unexpected(&self) -> impl Iterator<Item = String> {
        let unexpected = self.rows.iter().filter(|row| row.observed != row.expected);
        unexpected.map(|row| {
            let Row {
                what,
                observed,
                expected,
            } = row;
            format!("{what}: {observed:?} instead of {expected:?}")
        })
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whats = self.rows.iter().map(|row| row.what.len());
        let first = whats.max().unwrap_or_default();
        let [a, b] = [0, 1].map(|order| {
            let cells = self.rows.iter().map(|row| row.observed[order].len());
            cells.chain([self.orders[order].len()]).max()
        });
        let (a, b) = (a.unwrap_or_default(), b.unwrap_or_default());

        writeln!(f, "{}", self.scenario)?;
        let mut line = |what: &str, cells: [&str; 2]| {
            writeln!(f, "  {what:<first$}  {:>a$}  {:>b$}", cells[0], cells[1])
        };
        line("", self.orders)?;
        for row in &self.rows {
            line(row.what, [&row.observed[0], &row.observed[1]])?;
        }
        writeln!(f, "{}", self.why)
    }
}

// === impl Row ===

impl Row {
    /// Makes a row of the observed and the expected value in each order.
    pub(crate) fn new(
        what: &'static str,
        observed: [impl ToString; 2],
        expected: [&'static str; 2],
    ) -> Self {
        Self {
            what,
            observed: observed.map(|value| value.to_string()),
            expected,
        }
    }
}

/// Formats a duration for the tables.
pub(crate) fn millis(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}
