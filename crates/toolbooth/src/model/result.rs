use std::slice;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use toolbooth_core::{Collected, Content, Partial, ToolError};

/// The result of a call for a model: the model's id of the call, and the response or the error.
///
/// The modules of the shapes convert it, such as [`openai_chat::result`](super::openai_chat::result).
#[derive(Debug, Clone)]
pub struct ModelResult {
    id: String,
    result: Result<Collected, ToolError>,
}

/// An image of a result.
pub(super) struct Image<'a> {
    pub(super) media_type: &'a str,
    bytes: &'a [u8],
}

// === impl ModelResult ===

impl ModelResult {
    /// Makes the result of the call with this id.
    #[must_use]
    pub fn new(id: impl Into<String>, result: Result<Collected, ToolError>) -> Self {
        Self {
            id: id.into(),
            result,
        }
    }

    /// Returns the model's id of the call.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the response.
    ///
    /// # Errors
    /// The error of the call.
    pub const fn result(&self) -> Result<&Collected, &ToolError> {
        self.result.as_ref()
    }

    /// Returns whether the call failed, or its response reports a failure of the tool.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.result.as_ref().map_or(true, Collected::is_error)
    }

    /// Returns what the model reads, as text. It is never empty.
    ///
    /// ```
    /// use toolbooth::model::ModelResult;
    /// use toolbooth::{ToolError, ToolOutput};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), ToolError> {
    /// let failed = ToolOutput::error("no such file").collect().await?;
    /// let failed = ModelResult::new("call_1", Ok(failed));
    /// assert_eq!(failed.text(), "no such file\nThe tool reported that it failed.");
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn text(&self) -> String {
        match &self.result {
            Ok(collected) => {
                let mut text = collected.text();
                if text.trim().is_empty() {
                    "The tool returned no content.".clone_into(&mut text);
                }
                match collected.is_error() {
                    true => with_line(text, "The tool reported that it failed."),
                    false => text,
                }
            }
            Err(error) => {
                let message = error.model_message();
                let partial = error
                    .partial()
                    .map(|partial| (partial.text(), partial.dropped()));
                match partial {
                    Some((text, dropped)) if !text.trim().is_empty() => {
                        let missing = match dropped {
                            0 => String::new(),
                            1 => ", 1 of its items is missing".to_owned(),
                            items => format!(", {items} of its items are missing"),
                        };
                        let line = format!("The content above is incomplete{missing}. {message}");
                        with_line(text, &line)
                    }
                    _ => message,
                }
            }
        }
    }

    /// Returns the text, or the blocks of the text and the images if there are any.
    pub(super) fn content(
        &self,
        text_block: impl FnOnce(String) -> Value,
        image_block: impl FnMut(Image<'_>) -> Value,
    ) -> Value {
        let mut images = self.contents().iter().filter_map(Image::of).peekable();
        match images.peek() {
            None => Value::String(self.text()),
            Some(_) => {
                let mut blocks = vec![text_block(self.text())];
                blocks.extend(images.map(image_block));
                Value::Array(blocks)
            }
        }
    }

    /// Returns the contents that the text has.
    fn contents(&self) -> &[Content] {
        match &self.result {
            Ok(collected) => collected.contents(),
            Err(error) => error.partial().map_or(&[], shown),
        }
    }
}

/// Returns the contents that [`Partial::text`] has.
fn shown(partial: &Partial) -> &[Content] {
    match (partial.contents(), partial.snapshot()) {
        ([], Some(snapshot)) => slice::from_ref(snapshot),
        (contents, _) => contents,
    }
}

fn with_line(mut text: String, line: &str) -> String {
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text + line
}

// === impl Image ===

impl<'a> Image<'a> {
    /// Returns the image of a content, if it is of a type that each API accepts.
    fn of(content: &'a Content) -> Option<Self> {
        match content {
            Content::Data { media_type, bytes } => match media_type.as_str() {
                "image/jpeg" | "image/png" | "image/gif" | "image/webp" => {
                    Some(Self { media_type, bytes })
                }
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn base64(&self) -> String {
        BASE64_STANDARD.encode(self.bytes)
    }
}
