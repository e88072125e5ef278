//! A timeline as text for a terminal.

mod bar;
mod duration;
mod line;
mod rows;
mod summary;

use std::collections::BTreeMap;
use std::fmt;

use self::bar::{Axis, LEGEND};
use self::duration::short;
use self::line::{Align, Line, Style};
use self::rows::{Row, rows};
use crate::escape::{fit, printable, printable_name};
use crate::record::Timeline;

/// A [`Timeline`] as text for a terminal.
///
/// Each call has one line: its tool and id, a bar, how long it took, and its outcome. The bar shows
/// each phase by a character of its own. Calls that a call made are indented below it. A table
/// above has the sums of each tool.
///
/// The text of one timeline is always the same. Characters that a terminal does not show, such as
/// controls, are written as `\u{1b}`.
///
/// ```
/// use toolbooth_timeline::{Recorder, Text};
///
/// let timeline = Recorder::new().snapshot();
/// let text = Text::new(&timeline).with_width(80).with_color(false).to_string();
/// assert_eq!(text, "no calls\n");
/// ```
#[derive(Debug, Clone)]
#[must_use = "it is printed by `Display`"]
pub struct Text<'a> {
    timeline: &'a Timeline,
    width: usize,
    color: bool,
    rows: usize,
}

const DEFAULT_WIDTH: usize = 100;
const MIN_WIDTH: usize = 40;
const DEFAULT_ROWS: usize = 100;

/// The columns of a duration, and those of an outcome.
const DURATION: usize = 8;
const OUTCOME: usize = 9;
/// The levels of calls in calls that are indented.
const MAX_INDENT: usize = 8;

// === impl Timeline ===

impl Timeline {
    /// Returns the timeline as text of this width in columns, without colour. [`Text`] has more
    /// settings.
    #[must_use]
    pub fn to_text(&self, width: usize) -> String {
        Text::new(self).with_width(width).to_string()
    }
}

// === impl Text ===

impl<'a> Text<'a> {
    /// Creates the text of a timeline.
    pub const fn new(timeline: &'a Timeline) -> Self {
        Self {
            timeline,
            width: DEFAULT_WIDTH,
            color: false,
            rows: DEFAULT_ROWS,
        }
    }

    /// Sets the width of the longest line in columns, at least 40. 100 by default.
    pub fn with_width(mut self, width: usize) -> Self {
        self.width = width.max(MIN_WIDTH);
        self
    }

    /// Sets whether the text has colours, by escape sequences. False by default: use
    /// [`IsTerminal`](std::io::IsTerminal) to find out whether they are shown.
    pub const fn with_color(mut self, color: bool) -> Self {
        self.color = color;
        self
    }

    /// Sets how many calls have a line of their own, 100 by default. The shortest ones are left
    /// out, and counted in a note.
    pub const fn with_rows(mut self, rows: usize) -> Self {
        self.rows = rows;
        self
    }

    fn write_head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let timeline = self.timeline;
        let mut counts = BTreeMap::new();
        for call in &timeline.calls {
            *counts.entry(call.outcome_text()).or_default() += 1;
        }
        let mut line = self.line();
        let calls = count(timeline.calls.len() as u64, "call");
        let outcomes = summary::outcomes(&counts);
        line.push(Style::Plain, &format!("{calls}: {outcomes}"));
        writeln!(f, "{}", line.finish())?;
        for (number, note) in [
            (timeline.dropped, "earlier, dropped by the recorder"),
            (
                timeline.unrecorded,
                "not recorded, the recorder was full of running calls",
            ),
        ] {
            if number > 0 {
                self.write_note(f, &format!("{} {note}", count(number, "call")))?;
            }
        }
        writeln!(f)?;
        for line in summary::table(timeline, self.width, self.color) {
            writeln!(f, "{line}")?;
        }
        writeln!(f)
    }

    fn write_rows(&self, f: &mut fmt::Formatter<'_>, rows: &[Row<'_>]) -> fmt::Result {
        let labels: Vec<_> = rows.iter().map(Row::label).collect();
        let widths = labels.iter().map(|label| fit(label, self.width / 3).1);
        let label_width = widths.max().unwrap_or(0);
        let starts = rows.iter().map(|row| row.call.start);
        let ends = rows.iter().map(|row| row.call.last_at(self.timeline.now));
        let axis = Axis {
            start: starts.min().unwrap_or_default(),
            end: ends.max().unwrap_or_default(),
            columns: self.width - label_width - DURATION - OUTCOME - 3,
        };
        let mut scale = self.line();
        scale.space(label_width + 1);
        let (start, end) = (short(axis.start), short(axis.end));
        let room = axis.columns.saturating_sub(end.len());
        scale.column(Style::Dim, &start, room, Align::Left);
        scale.push(Style::Dim, &end);
        writeln!(f, "{}", scale.finish())?;
        for (row, label) in rows.iter().zip(labels) {
            let mut line = self.line();
            line.column(Style::Plain, &label, label_width, Align::Left);
            line.space(1);
            axis.push_bar(&mut line, row.call, self.timeline.now);
            let duration = short(row.call.duration(self.timeline.now));
            line.column(Style::Plain, &duration, DURATION + 1, Align::Right);
            line.space(1);
            line.push(Style::Outcome(row.call.outcome), row.call.outcome_text());
            writeln!(f, "{}", line.finish())?;
        }
        Ok(())
    }

    fn write_legend(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let legend = LEGEND.map(|(char, meaning)| format!("{char} {meaning}"));
        self.write_note(f, &legend.join("  "))
    }

    fn write_note(&self, f: &mut fmt::Formatter<'_>, note: &str) -> fmt::Result {
        let mut line = self.line();
        line.push(Style::Dim, note);
        writeln!(f, "{}", line.finish())
    }

    const fn line(&self) -> Line {
        Line::new(self.width, self.color)
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls = self.timeline.calls.len();
        if calls == 0 {
            return writeln!(f, "no calls");
        }
        self.write_head(f)?;
        let rows = rows(self.timeline, self.rows);
        if !rows.is_empty() {
            self.write_rows(f, &rows)?;
        }
        let left_out = calls - rows.len();
        if left_out > 0 {
            let left_out = count(left_out as u64, "shorter call");
            self.write_note(f, &format!("{left_out} not shown"))?;
        }
        self.write_legend(f)
    }
}

fn count(number: u64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

// === impl Row ===

impl Row<'_> {
    fn label(&self) -> String {
        let indent = "  ".repeat(self.depth.min(MAX_INDENT));
        let call = self.call;
        format!(
            "{indent}{} {}",
            printable_name(&call.tool),
            printable(&call.id)
        )
    }
}
