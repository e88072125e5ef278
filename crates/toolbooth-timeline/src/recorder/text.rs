//! Bounded texts of what comes from calls.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::io;

use toolbooth_core::{Content, EventKind, Name, ToolError, nests_too_deep, start_of};

/// The most bytes of a name.
pub(super) const MAX_NAME: usize = 256;
/// The most bytes of the contents of a call.
pub(super) const MAX_CONTENTS: usize = 16 * 1_024;
/// The most bytes of the text of an error.
const MAX_ERROR: usize = 2 * 1_024;
/// The most causes of an error.
const MAX_CAUSES: usize = 8;

/// The texts of an event, made before the recorder is locked.
#[derive(Default)]
pub(super) struct Texts {
    pub(super) contents: Vec<Text>,
    pub(super) error: Option<Text>,
}

/// A text, at most as long as its bound.
pub(super) struct Text {
    pub(super) text: String,
    /// Whether it is the start of a longer one.
    pub(super) is_cut: bool,
}

/// Writes up to a bound, and fails after it.
struct Bounded {
    bytes: Vec<u8>,
    max: usize,
    is_full: bool,
}

/// Returns the name, cut to its first 256 bytes.
pub(super) fn name(name: &Name) -> Name {
    match name.len() {
        0..=MAX_NAME => name.clone(),
        _ => start_of(name, MAX_NAME).into(),
    }
}

/// Returns why an attempt failed, such as ``timeout of `attempt` ``.
pub(super) fn why(retry: &EventKind) -> Option<Name> {
    let EventKind::Retry {
        error_type, layer, ..
    } = retry
    else {
        return None;
    };
    let error_type = name(error_type.as_ref()?);
    let Some(layer) = layer.as_ref().map(Name::from) else {
        return Some(error_type);
    };
    Some(format!("{error_type} of `{}`", name(&layer)).into())
}

// === impl Texts ===

impl Texts {
    pub(super) fn of(event: &EventKind) -> Self {
        let contents = match event {
            EventKind::Partial { content, .. } => content.as_deref().map(std::slice::from_ref),
            EventKind::Completed { contents, .. } => contents.as_deref(),
            _ => None,
        };
        let mut room = MAX_CONTENTS;
        let contents = contents.unwrap_or_default().iter().map_while(|content| {
            let text = (room > 0).then(|| Text::of_content(content, room))?;
            room -= text.text.len();
            Some(text)
        });
        Self {
            contents: contents.collect(),
            error: event.error().map(Text::of_error),
        }
    }
}

// === impl Text ===

impl Text {
    fn of_content(content: &Content, max: usize) -> Self {
        let mut bounded = Bounded::new(max);
        let written = match content {
            Content::Text(text) => bounded.write_str(text).is_ok(),
            // Serialization of a deep value recurses.
            Content::Json(value) if !nests_too_deep(value) => {
                serde_json::to_writer(&mut bounded, value).is_ok()
            }
            content => bounded.write_str(&content.to_text()).is_ok(),
        };
        bounded.finish(written)
    }

    /// The error and its causes.
    fn of_error(error: &ToolError) -> Self {
        let mut bounded = Bounded::new(MAX_ERROR);
        let causes = std::iter::successors(error.source(), |cause| (*cause).source());
        let written = write!(bounded, "{error}").and_then(|()| {
            let mut causes = causes.take(MAX_CAUSES);
            causes.try_for_each(|cause| write!(bounded, ": {cause}"))
        });
        bounded.finish(written.is_ok())
    }
}

// === impl Bounded ===

impl Bounded {
    const fn new(max: usize) -> Self {
        Self {
            bytes: Vec::new(),
            max,
            is_full: false,
        }
    }

    fn finish(self, is_whole: bool) -> Text {
        // The bound may be within a character.
        let mut text = String::from_utf8_lossy(&self.bytes).into_owned();
        let is_cut = self.is_full || !is_whole;
        if is_cut {
            text.truncate(text.trim_end_matches(char::REPLACEMENT_CHARACTER).len());
        }
        Text { text, is_cut }
    }
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.max - self.bytes.len();
        let fits = bytes.len().min(room);
        self.bytes.extend_from_slice(&bytes[..fits]);
        match fits {
            0 if !bytes.is_empty() => {
                self.is_full = true;
                Err(io::ErrorKind::WriteZero.into())
            }
            fits => Ok(fits),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let written = io::Write::write_all(self, text.as_bytes());
        written.or(Err(fmt::Error))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use toolbooth_core::{Content, ToolError};

    use super::Text;

    fn of(content: &Content, max: usize) -> (String, bool) {
        let text = Text::of_content(content, max);
        (text.text, text.is_cut)
    }

    #[test]
    fn content_is_bounded() {
        assert_eq!(of(&"äöü".into(), 6), ("äöü".to_owned(), false));
        assert_eq!(of(&"äöü".into(), 5), ("äö".to_owned(), true));
        let list = Content::Json(json!(["a", "b"]));
        assert_eq!(of(&list, 9), (r#"["a","b"]"#.to_owned(), false));
        assert_eq!(of(&list, 8), (r#"["a","b""#.to_owned(), true));
        let image = Content::data("image/png", vec![0; 5]);
        assert_eq!(of(&image, 100), ("[image/png, 5 bytes]".to_owned(), false));
    }

    #[test]
    fn error_is_bounded() {
        let text = Text::of_error(&ToolError::failed("x".repeat(1_000_000)));
        assert!(text.is_cut && text.text.len() <= 2_048, "{}", text.text);
    }
}
