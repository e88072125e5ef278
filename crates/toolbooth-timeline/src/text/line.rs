//! One line of text with a limit on its width.

use std::fmt::Write as _;

use toolbooth_core::Outcome;

use crate::escape::fit;

/// A line that never exceeds its width.
pub(super) struct Line {
    text: String,
    taken: usize,
    width: usize,
    color: bool,
}

/// How a text is shown in colour.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Dim,
    Queue,
    Cleanup,
    /// The colour of an outcome; `None` of a running call.
    Outcome(Option<Outcome>),
}

// === impl Line ===

impl Line {
    pub(super) const fn new(width: usize, color: bool) -> Self {
        Self {
            text: String::new(),
            taken: 0,
            width,
            color,
        }
    }

    /// Appends a printable text, as much as fits.
    pub(super) fn push(&mut self, style: Style, text: &str) {
        let (text, columns) = fit(text, self.width - self.taken);
        self.taken += columns;
        match style.code().filter(|_| self.color && columns > 0) {
            Some(code) => _ = write!(self.text, "\x1b[{code}m{text}\x1b[0m"),
            None => self.text.push_str(&text),
        }
    }

    /// Appends a text at the left or the right of a column of this width.
    pub(super) fn column(&mut self, style: Style, text: &str, width: usize, align: Align) {
        let (text, columns) = fit(text, width);
        let space = width - columns;
        match align {
            Align::Left => {
                self.push(style, &text);
                self.space(space);
            }
            Align::Right => {
                self.space(space);
                self.push(style, &text);
            }
        }
    }

    pub(super) fn space(&mut self, columns: usize) {
        let columns = columns.min(self.width - self.taken);
        self.text.extend(std::iter::repeat_n(' ', columns));
        self.taken += columns;
    }

    /// Returns the line without spaces at its end.
    pub(super) fn finish(mut self) -> String {
        self.text.truncate(self.text.trim_end_matches(' ').len());
        self.text
    }
}

#[derive(Clone, Copy)]
pub(super) enum Align {
    Left,
    Right,
}

// === impl Style ===

impl Style {
    /// Returns the parameters of the escape sequence.
    const fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Dim => Some("2"),
            Self::Queue => Some("33"),
            Self::Cleanup => Some("34"),
            Self::Outcome(None) => Some("36"),
            Self::Outcome(Some(outcome)) => Some(match outcome {
                Outcome::Completed => "32",
                Outcome::TimedOut => "35",
                Outcome::Rejected => "33",
                Outcome::Cancelled => "90",
                _ => "31",
            }),
        }
    }
}
