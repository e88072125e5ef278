//! Texts of bounded length for fields.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::{self, Write};

use toolbooth_core::{Content, ToolError, nests_too_deep, start_of};

/// The maximum length of a name in a field: a tool, a call, a tenant, a layer, a key.
const MAX_NAME: usize = toolbooth_core::MAX_NAME;

/// The maximum length of arguments, of a result, or of an item in a field.
pub(super) const MAX_CONTENTS: usize = 8 * 1_024;

/// What follows a text that was shortened.
const SHORTENED: char = '…';

/// Collects text up to a limit in bytes. Writing more fails, so that a long value is not formatted
/// to its end.
struct Bounded {
    text: String,
    limit: usize,
}

// === impl Bounded ===

impl Bounded {
    const fn new(limit: usize) -> Self {
        Self {
            text: String::new(),
            limit,
        }
    }
}

impl Write for Bounded {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let room = self.limit - self.text.len();
        if more.len() <= room {
            self.text.push_str(more);
            return Ok(());
        }
        self.text.push_str(start_of(more, room));
        self.text.push(SHORTENED);
        // No room for more, although the mark is beyond the limit.
        self.limit = self.text.len();
        Err(fmt::Error)
    }
}

/// Returns a name of bounded length, without control characters and marks of direction.
pub(super) fn name(name: &str) -> Cow<'_, str> {
    text(name, MAX_NAME)
}

/// Returns a text of bounded length, without control characters and marks of direction.
pub(super) fn text(text: &str, limit: usize) -> Cow<'_, str> {
    if text.len() <= limit && !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let start = start_of(text, limit);
    let mut bounded: String = start.replace(is_unsafe, "\u{fffd}");
    if start.len() < text.len() {
        bounded.push(SHORTENED);
    }
    Cow::Owned(bounded)
}

/// Formats a value.
pub(super) fn value(value: &impl fmt::Display) -> String {
    let mut bounded = Bounded::new(MAX_CONTENTS);
    // An error is the limit.
    let _ = write!(bounded, "{value}");
    bounded.text
}

/// Returns an error with its causes, of which the first eight count.
pub(super) fn error(error: &ToolError) -> String {
    let mut bounded = Bounded::new(MAX_CONTENTS);
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    // An error is the limit, after which nothing is written.
    let _ = write!(bounded, "{error}").and_then(|()| {
        causes
            .take(8)
            .try_for_each(|cause| write!(bounded, ": {cause}"))
    });
    bounded.text
}

/// Returns contents as text, each on its own line.
pub(super) fn contents(contents: &[Content]) -> String {
    let mut bounded = Bounded::new(MAX_CONTENTS);
    // An error is the limit, after which nothing is written.
    let _ = contents.iter().enumerate().try_for_each(|(at, content)| {
        if at > 0 {
            bounded.write_char('\n')?;
        }
        match content {
            Content::Text(text) => bounded.write_str(text),
            Content::Json(value) if !nests_too_deep(value) => write!(bounded, "{value}"),
            // Short texts: the kind and the size, or that the value nests too deep.
            other => bounded.write_str(&other.to_text()),
        }
    });
    bounded.text
}

/// Returns whether a terminal could act on the character, or show others in another order.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
