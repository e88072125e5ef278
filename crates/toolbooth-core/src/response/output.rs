use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Content, ContentStream, Partial};
use crate::error::{BoxError, ToolError};

/// What a tool answers: contents that are there, or a stream of them.
///
/// ```
/// use toolbooth_core::{Content, ToolOutput};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), toolbooth_core::ToolError> {
/// let collected = ToolOutput::text("42 matches").collect().await?;
/// assert_eq!(collected.contents(), [Content::from("42 matches")]);
///
/// let failed = ToolOutput::error("the file is empty");
/// assert!(failed.is_error());
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct ToolOutput {
    pub(crate) body: Body,
    is_error: bool,
    meta: Option<Box<Map<String, Value>>>,
}

/// The contents: the usual single one is held in place.
#[derive(Debug)]
pub(crate) enum Body {
    One(Content),
    Many(Vec<Content>),
    Stream(ContentStream),
}

/// An answer that has been read to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Collected {
    contents: Vec<Content>,
    is_error: bool,
    meta: Option<Box<Map<String, Value>>>,
}

// === impl ToolOutput ===

impl ToolOutput {
    /// An answer of one text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(Body::One(Content::Text(text.into())))
    }

    /// An answer of one JSON value.
    #[must_use]
    pub const fn json(value: Value) -> Self {
        Self::new(Body::One(Content::Json(value)))
    }

    /// An answer of several pieces, or of none.
    #[must_use]
    pub const fn contents(contents: Vec<Content>) -> Self {
        Self::new(Body::Many(contents))
    }

    /// An answer that comes piece by piece. The call lasts until the stream ends, fails or is dropped.
    pub fn stream<S, E>(stream: S) -> Self
    where
        S: Stream<Item = Result<Content, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        Self::new(Body::Stream(ContentStream::new(OursErrors { stream })))
    }

    /// A failure that the tool reports as its answer, for a model to read: the call answers `Ok`,
    /// and its outcome is `Failed`. It is what MCP calls `isError`.
    #[must_use]
    pub fn error(text: impl Into<String>) -> Self {
        let mut output = Self::text(text);
        output.is_error = true;
        output
    }

    /// Whether the answer reports a failure of the tool, as [`error`](Self::error) does by one text.
    #[must_use]
    pub const fn with_is_error(mut self, is_error: bool) -> Self {
        self.is_error = is_error;
        self
    }

    /// Adds a value beside the contents, as MCP's `_meta` does.
    #[must_use]
    pub fn with_meta(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.meta
            .get_or_insert_default()
            .insert(key.into(), value.into());
        self
    }

    /// Whether the answer reports a failure of the tool.
    #[must_use]
    pub const fn is_error(&self) -> bool {
        self.is_error
    }

    /// What an answer that is there as a whole consists of; `None` for a stream.
    #[must_use]
    pub fn as_contents(&self) -> Option<&[Content]> {
        match &self.body {
            Body::One(content) => Some(std::slice::from_ref(content)),
            Body::Many(contents) => Some(contents),
            Body::Stream(_) => None,
        }
    }

    /// Whether the answer comes piece by piece.
    #[must_use]
    pub const fn is_stream(&self) -> bool {
        matches!(self.body, Body::Stream(_))
    }

    /// What stands beside the contents.
    #[must_use]
    pub fn meta(&self) -> Option<&Map<String, Value>> {
        self.meta.as_deref()
    }

    /// The contents as a stream, whichever way they come.
    pub fn into_stream(self) -> ContentStream {
        match self.body {
            Body::One(content) => ContentStream::new(Whole(vec![content].into_iter())),
            Body::Many(contents) => ContentStream::new(Whole(contents.into_iter())),
            Body::Stream(stream) => stream,
        }
    }

    /// Reads the answer to its end.
    ///
    /// # Errors
    /// The error that ended a streamed answer early; what had come by then is in its partial
    /// result, once, and none of it counts as delivered.
    ///
    /// # Cancel safety
    /// Dropping the future ends the call, and loses what was read.
    pub async fn collect(self) -> Result<Collected, ToolError> {
        let contents = match self.body {
            Body::One(content) => vec![content],
            Body::Many(contents) => contents,
            Body::Stream(stream) => read(stream).await?,
        };
        Ok(Collected {
            contents,
            is_error: self.is_error,
            meta: self.meta,
        })
    }

    const fn new(body: Body) -> Self {
        Self {
            body,
            is_error: false,
            meta: None,
        }
    }
}

impl From<Content> for ToolOutput {
    fn from(content: Content) -> Self {
        Self::new(Body::One(content))
    }
}

async fn read(mut stream: ContentStream) -> Result<Vec<Content>, ToolError> {
    let mut contents = Vec::new();
    while let Some(piece) = poll_fn(|cx| Pin::new(&mut stream).poll_next(cx)).await {
        match piece {
            Ok(content) => contents.push(content),
            Err(mut error) => {
                // What the stream's layers kept holds these contents already, emitted ones among them.
                let mut partial = match error.shared_partial() {
                    Some(kept) if kept.contents().len() >= contents.len() => Partial::clone(kept),
                    _ => Partial::collected(contents),
                };
                partial.delivered = 0;
                error.set_partial((partial != Partial::default()).then(|| Arc::new(partial)));
                return Err(error);
            }
        }
    }
    Ok(contents)
}

// === impl Collected ===

impl Collected {
    /// The pieces in order.
    #[must_use]
    pub fn contents(&self) -> &[Content] {
        &self.contents
    }

    /// The pieces in order, by value.
    #[must_use]
    pub fn into_contents(self) -> Vec<Content> {
        self.contents
    }

    /// All texts of the answer, one after the other.
    #[must_use]
    pub fn text(&self) -> String {
        self.contents.iter().filter_map(Content::as_text).collect()
    }

    /// Whether the answer reports a failure of the tool.
    #[must_use]
    pub const fn is_error(&self) -> bool {
        self.is_error
    }

    /// What stands beside the contents.
    #[must_use]
    pub fn meta(&self) -> Option<&Map<String, Value>> {
        self.meta.as_deref()
    }
}

// === streams ===

struct Whole(std::vec::IntoIter<Content>);

impl Stream for Whole {
    type Item = Result<Content, ToolError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.next().map(Ok))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

pin_project_lite::pin_project! {
    struct OursErrors<S> {
        #[pin]
        stream: S,
    }
}

impl<S, E> Stream for OursErrors<S>
where
    S: Stream<Item = Result<Content, E>>,
    E: Into<BoxError> + 'static,
{
    type Item = Result<Content, ToolError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let piece = std::task::ready!(self.project().stream.poll_next(cx));
        Poll::Ready(piece.map(|piece| piece.map_err(ToolError::from_error)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.stream.size_hint()
    }
}

// === what a handler may return ===

/// What the handler of a tool may return: a [`ToolOutput`], or anything that serializes to JSON.
///
/// A text becomes [`Content::Text`], any other value [`Content::Json`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a tool's answer",
    label = "neither a `ToolOutput` nor `Serialize`",
    note = "derive `serde::Serialize` for it, or return a `toolbooth::ToolOutput`"
)]
pub trait IntoToolOutput {
    /// Makes the answer.
    ///
    /// # Errors
    /// The value does not serialize to JSON.
    fn into_tool_output(self) -> Result<ToolOutput, ToolError>;
}

impl IntoToolOutput for ToolOutput {
    fn into_tool_output(self) -> Result<ToolOutput, ToolError> {
        Ok(self)
    }
}

impl<T: Serialize> IntoToolOutput for T {
    fn into_tool_output(self) -> Result<ToolOutput, ToolError> {
        match serde_json::to_value(self) {
            Ok(Value::String(text)) => Ok(ToolOutput::text(text)),
            Ok(value) => Ok(ToolOutput::json(value)),
            Err(error) => Err(ToolError::failed(error)),
        }
    }
}
