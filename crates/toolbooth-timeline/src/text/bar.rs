//! The bar of a call.

use std::time::Duration;

use super::line::{Line, Style};
use crate::record::{CallRecord, PhaseKind};

/// The time that the bars show, and how many columns it has.
pub(super) struct Axis {
    pub(super) start: Duration,
    pub(super) end: Duration,
    pub(super) columns: usize,
}

/// What a column of a bar shows, in the order in which it is drawn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cell {
    Empty,
    /// The call runs, but is in no phase.
    Other,
    Phase(PhaseKind),
    Deadline,
}

/// The characters of a bar with their meaning.
pub(super) const LEGEND: [(char, &str); 8] = [
    ('░', "queue"),
    ('█', "run"),
    ('▒', "idle"),
    ('▓', "grace"),
    ('-', "backoff"),
    ('~', "cleanup"),
    ('·', "other"),
    ('|', "deadline"),
];

// === impl Axis ===

impl Axis {
    pub(super) fn push_bar(&self, line: &mut Line, call: &CallRecord, now: Duration) {
        let cells = self.cells(call, now);
        for run in cells.chunk_by(|one, other| one == other) {
            let text: String = run.iter().map(|cell| cell.char()).collect();
            line.push(run[0].style(call), &text);
        }
    }

    fn cells(&self, call: &CallRecord, now: Duration) -> Vec<Cell> {
        let mut cells = vec![Cell::Empty; self.columns];
        self.draw(&mut cells, Cell::Other, call.start, call.end.unwrap_or(now));
        for phase in &call.phases {
            let end = phase.end.unwrap_or(now);
            if phase.start < end {
                self.draw(&mut cells, Cell::Phase(phase.kind), phase.start, end);
            }
        }
        if let Some(deadline) = call.deadline.filter(|deadline| *deadline < self.end) {
            cells[self.column(deadline)] = Cell::Deadline;
        }
        cells
    }

    /// Draws at least one column.
    fn draw(&self, cells: &mut [Cell], cell: Cell, start: Duration, end: Duration) {
        let first = self.column(start).min(self.columns - 1);
        let end = self.column(end).clamp(first + 1, self.columns);
        cells[first..end].fill(cell);
    }

    /// Returns the column of a time, [`columns`](Self::columns) for the end of the axis.
    fn column(&self, at: Duration) -> usize {
        // A call may start after the end, if that is the time of the snapshot.
        let at = at.min(self.end).saturating_sub(self.start);
        let span = self.end.saturating_sub(self.start).as_nanos().max(1);
        let column = at.as_nanos() * self.columns as u128 / span;
        usize::try_from(column).map_or(self.columns, |column| column.min(self.columns))
    }
}

// === impl Cell ===

impl Cell {
    const fn char(self) -> char {
        match self {
            Self::Empty => ' ',
            Self::Phase(PhaseKind::Queue) => '░',
            Self::Phase(PhaseKind::Run) => '█',
            Self::Phase(PhaseKind::Idle) => '▒',
            Self::Phase(PhaseKind::Grace) => '▓',
            Self::Phase(PhaseKind::Backoff) => '-',
            Self::Phase(PhaseKind::Cleanup) => '~',
            Self::Other => '·',
            Self::Deadline => '|',
        }
    }

    const fn style(self, call: &CallRecord) -> Style {
        match self {
            Self::Empty => Style::Plain,
            Self::Phase(PhaseKind::Queue) => Style::Queue,
            Self::Phase(PhaseKind::Cleanup) => Style::Cleanup,
            Self::Phase(PhaseKind::Backoff) | Self::Other | Self::Deadline => Style::Dim,
            Self::Phase(_) => Style::Outcome(call.outcome),
        }
    }
}
