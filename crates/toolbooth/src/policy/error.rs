use std::fmt;
use std::ops::Range;

use toolbooth_core::{Name, start_of};

use crate::toolbox::nearest::nearest;

/// Policies that cannot be used, and where the fault is.
///
/// ```
/// use toolbooth::policy::Policies;
///
/// let text = "[tools.search]\nrate = \"10/fortnight\"\n";
/// let error = Policies::from_toml(text).err().ok_or("there is no such unit")?;
/// assert_eq!((error.line(), error.column()), (Some(2), Some(8)));
/// assert_eq!(error.path(), "tools.search.rate");
/// # Ok::<(), &str>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    kind: PolicyErrorKind,
    path: String,
    message: String,
    /// The line and the column, from 1.
    at: Option<(usize, usize)>,
}

/// The kind of a [`PolicyError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PolicyErrorKind {
    /// The text is longer than [`MAX_TEXT`](super::MAX_TEXT).
    TooLarge,
    /// The text is no TOML, or no JSON.
    Syntax,
    /// A key or a value is not allowed.
    Invalid,
    /// A tool is named that is not there.
    UnknownTool,
}

/// The longest message of a parser that is shown, in bytes. It repeats what the text contains.
const MAX_MESSAGE: usize = 600;

// === impl PolicyError ===

impl PolicyError {
    pub(super) fn new(kind: PolicyErrorKind, path: String, message: String) -> Self {
        Self {
            kind,
            path: shortened(path, MAX_MESSAGE),
            message: shortened(message, MAX_MESSAGE),
            at: None,
        }
    }

    pub(super) fn invalid(path: String, message: String) -> Self {
        Self::new(PolicyErrorKind::Invalid, path, message)
    }

    /// Returns the same error, at a place of the text.
    pub(super) fn at(mut self, text: &str, span: Option<Range<usize>>) -> Self {
        self.at = span.map(|span| place(text, span.start));
        self
    }

    pub(super) const fn at_line(mut self, line: usize, column: usize) -> Self {
        self.at = Some((line, column));
        self
    }

    /// Adds the nearest key to the message about one that is unknown. serde lists all of them.
    pub(super) fn with_nearest_key(mut self) -> Self {
        if let Some(keys) = self.message.strip_prefix("unknown field `") {
            // The unknown key, and every second part from there: the keys that are allowed.
            let mut keys = keys.split('`');
            let unknown = keys.next().unwrap_or_default();
            let allowed: Vec<Name> = keys.skip(1).step_by(2).map(Name::from).collect();
            let nearest = did_you_mean(&nearest(unknown, &allowed));
            self.message.push_str(&nearest);
        }
        self
    }

    /// Removes the value that the message quotes, for a value that may be secret. What is allowed
    /// there stays.
    ///
    /// ```
    /// use toolbooth::policy::Policies;
    ///
    /// let error = Policies::from_toml("default.idempotent = \"secret\"").unwrap_err();
    /// assert_eq!(error.message(), "invalid type: string \"secret\", expected a boolean");
    /// assert_eq!(error.without_value().message(), "invalid type: string, expected a boolean");
    /// ```
    #[must_use]
    pub fn without_value(mut self) -> Self {
        // The texts of serde, with the value in quotes.
        let texts = ["invalid type: ", "invalid value: ", "unknown variant"];
        let Some(start) = texts.iter().find(|start| self.message.starts_with(*start)) else {
            return self;
        };
        let value = self.message[start.len()..].find(['"', '`']);
        if let Some(value) = value.map(|value| start.len() + value) {
            // A value may have these words. After the last of them there is none.
            let rest = self
                .message
                .rfind(", expected ")
                .map(|rest| rest.max(value));
            let rest = rest.map_or("", |rest| &self.message[rest..]);
            self.message = format!("{}{rest}", self.message[..value].trim_end());
        }
        self
    }

    /// Returns the kind.
    #[must_use]
    pub const fn kind(&self) -> PolicyErrorKind {
        self.kind
    }

    /// Returns the keys that lead to the fault, such as `tools.search.rate`. Empty if it is in no
    /// setting.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the line of the fault, from 1. `None` for policies that were not read from a text.
    #[must_use]
    pub const fn line(&self) -> Option<usize> {
        match self.at {
            Some((line, _)) => Some(line),
            None => None,
        }
    }

    /// Returns the column of the fault in characters, from 1.
    #[must_use]
    pub const fn column(&self) -> Option<usize> {
        match self.at {
            Some((_, column)) => Some(column),
            None => None,
        }
    }

    /// Returns the text without the place.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.at, self.path.as_str()) {
            (Some((line, column)), "") => write!(f, "line {line}, column {column}: ")?,
            (Some((line, column)), path) => {
                write!(f, "line {line}, column {column}, in `{path}`: ")?;
            }
            (None, "") => {}
            (None, path) => write!(f, "in `{path}`: ")?,
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for PolicyError {}

/// Returns the names as a question; nothing if there are none.
pub(super) fn did_you_mean(names: &[Name]) -> String {
    let names: Vec<_> = names
        .iter()
        .map(|name| format!("`{}`", name.as_str()))
        .collect();
    match names.is_empty() {
        true => String::new(),
        false => format!(": did you mean {}?", names.join(" or ")),
    }
}

/// Returns the line and the column of a byte, from 1.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.matches('\n').count() + 1;
    (line, before[line_start..].chars().count() + 1)
}

fn shortened(mut text: String, max: usize) -> String {
    if text.len() > max {
        text.truncate(start_of(&text, max).len());
        text.push_str("...");
    }
    text
}
