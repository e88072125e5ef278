//! `Debug` without what a call was sent and what its tool returned.

use std::error::Error;
use std::fmt;

use super::ToolError;
use super::text::bounded_name;
use crate::response::{Content, Partial};

/// The counts of a partial result.
struct Counts<'a>(&'a Partial);

/// Shows the kind, the text, the source and the call. Of a partial result it shows counts alone.
/// Messages about invalid arguments, which may quote them, are left out.
impl fmt::Debug for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::InvalidArguments { path, .. } => {
                format!("invalid arguments at `{}`", bounded_name(path))
            }
            other => other.to_string(),
        };
        f.debug_struct("ToolError")
            .field("kind", &self.kind())
            .field("text", &text)
            .field("source", &self.source())
            .field("tool", &self.tool())
            .field("call_id", &self.call_id())
            .field("layer", &self.layer())
            .field("started", &self.started())
            .field("partial", &self.partial().map(Counts))
            .finish()
    }
}

impl fmt::Debug for Counts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let contents = self.0.contents();
        let bytes: usize = contents.iter().map(Content::size).sum();
        f.debug_struct("Partial")
            .field("contents", &contents.len())
            .field("bytes", &bytes)
            .field("snapshot", &self.0.snapshot().is_some())
            .field("dropped", &self.0.dropped())
            .field("delivered", &self.0.delivered())
            .finish()
    }
}
