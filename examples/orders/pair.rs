//! What two orders of a pair of layers did, as a table.

use std::fmt;
use std::time::Duration;

/// Two layers, stacked both ways.
pub(crate) struct Pair {
    /// The heading of each order.
    pub(crate) orders: [&'static str; 2],
    /// What was done with both.
    pub(crate) story: &'static str,
    pub(crate) rows: Vec<Row>,
    /// Why they differ.
    pub(crate) why: &'static str,
}

/// One thing that was looked at in both orders.
pub(crate) struct Row {
    what: &'static str,
    seen: [String; 2],
    explained: [&'static str; 2],
}

// === impl Pair ===

impl Pair {
    /// What differs from the explanation, in words.
    pub(crate) fn wrong(&self) -> impl Iterator<Item = String> {
        let wrong = self.rows.iter().filter(|row| row.seen != row.explained);
        wrong.map(|row| {
            let Row {
                what,
                seen,
                explained,
            } = row;
            format!("{what}: {seen:?} instead of {explained:?}")
        })
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whats = self.rows.iter().map(|row| row.what.len());
        let first = whats.max().unwrap_or_default();
        let [a, b] = [0, 1].map(|order| {
            let cells = self.rows.iter().map(|row| row.seen[order].len());
            cells.chain([self.orders[order].len()]).max()
        });
        let (a, b) = (a.unwrap_or_default(), b.unwrap_or_default());

        writeln!(f, "{}", self.story)?;
        let mut line = |what: &str, seen: [&str; 2]| {
            writeln!(f, "  {what:<first$}  {:>a$}  {:>b$}", seen[0], seen[1])
        };
        line("", self.orders)?;
        for row in &self.rows {
            line(row.what, [&row.seen[0], &row.seen[1]])?;
        }
        writeln!(f, "{}", self.why)
    }
}

// === impl Row ===

impl Row {
    /// What was seen in each order, and what the explanation says it must be.
    pub(crate) fn new(
        what: &'static str,
        seen: [impl ToString; 2],
        explained: [&'static str; 2],
    ) -> Self {
        Self {
            what,
            seen: seen.map(|seen| seen.to_string()),
            explained,
        }
    }
}

/// A time, as the tables show it.
pub(crate) fn shown(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}
