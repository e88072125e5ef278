use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use triomphe::Arc;

use super::{Content, ContentStream, Partial};
use crate::error::{BoxError, ToolError};

/// The response of a tool: buffered contents, or a stream of them.
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
    line_ends: bool,
    meta: Option<Box<Map<String, Value>>>,
}

/// The contents. A single one, the usual case, needs no allocation.
#[derive(Debug)]
pub(crate) enum Body {
    One(Content),
    Many(Vec<Content>),
    Stream(ContentStream),
}

/// A response that was read to its end.
///
/// # JSON
/// The fields `contents`, `is_error`, `line_ends` (set by
/// [`with_line_ends`](ToolOutput::with_line_ends)) and `meta`. All but `contents` are left out if
/// they are false or empty, and unknown fields are ignored.
///
/// ```
/// use serde_json::json;
/// use toolbooth_core::{Collected, ToolOutput};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), toolbooth_core::BoxError> {
/// let failed = ToolOutput::error("no such file").with_meta("code", 2).collect().await?;
/// let expected = json!({
///     "contents": [{ "type": "text", "text": "no such file" }],
///     "is_error": true,
///     "meta": { "code": 2 },
/// });
/// assert_eq!(serde_json::to_value(&failed)?, expected);
/// assert_eq!(serde_json::from_value::<Collected>(expected)?, failed);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Collected {
    contents: Vec<Content>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_error: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    line_ends: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<Box<Map<String, Value>>>,
}

// === impl ToolOutput ===

impl ToolOutput {
    /// Makes a response of one text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(Body::One(Content::Text(text.into())))
    }

    /// Makes a response of one JSON value.
    #[must_use]
    pub const fn json(value: Value) -> Self {
        Self::new(Body::One(Content::Json(value)))
    }

    /// Makes a response of any number of items.
    #[must_use]
    pub const fn contents(contents: Vec<Content>) -> Self {
        Self::new(Body::Many(contents))
    }

    /// Makes a streaming response. The call lasts until the stream ends, fails or is dropped.
    pub fn stream<S, E>(stream: S) -> Self
    where
        S: Stream<Item = Result<Content, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        Self::new(Body::Stream(ContentStream::new(ConvertErrors { stream })))
    }

    /// Makes a response that reports a failure of the tool to the model, as MCP's `isError` does.
    ///
    /// The call returns `Ok`, and its outcome is [`Failed`](crate::Outcome::Failed).
    #[must_use]
    pub fn error(text: impl Into<String>) -> Self {
        let mut output = Self::text(text);
        output.is_error = true;
        output
    }

    /// Sets whether the response reports a failure of the tool, as [`error`](Self::error) does.
    #[must_use]
    pub const fn with_is_error(mut self, is_error: bool) -> Self {
        self.is_error = is_error;
        self
    }

    /// Puts a line end between the texts of the response in [`Collected::text`], where a text does
    /// not end with one. For a response whose items are lines, or texts of several kinds.
    ///
    /// ```
    /// use toolbooth_core::{Content, ToolOutput};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), toolbooth_core::ToolError> {
    /// let lines: Vec<Content> = vec!["one".into(), "two".into()];
    /// let collected = ToolOutput::contents(lines).with_line_ends().collect().await?;
    /// assert_eq!(collected.text(), "one\ntwo");
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub const fn with_line_ends(mut self) -> Self {
        self.line_ends = true;
        self
    }

    /// Adds a metadata value, as in MCP's `_meta`.
    #[must_use]
    pub fn with_meta(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.meta
            .get_or_insert_default()
            .insert(key.into(), value.into());
        self
    }

    /// Returns whether the response reports a failure of the tool.
    #[must_use]
    pub const fn is_error(&self) -> bool {
        self.is_error
    }

    /// Returns the contents of a buffered response, or `None` for a stream.
    #[must_use]
    pub fn as_contents(&self) -> Option<&[Content]> {
        match &self.body {
            Body::One(content) => Some(std::slice::from_ref(content)),
            Body::Many(contents) => Some(contents),
            Body::Stream(_) => None,
        }
    }

    /// Returns whether the response is a stream.
    #[must_use]
    pub const fn is_stream(&self) -> bool {
        matches!(self.body, Body::Stream(_))
    }

    /// Returns the metadata, if any was added.
    #[must_use]
    pub fn meta(&self) -> Option<&Map<String, Value>> {
        self.meta.as_deref()
    }

    /// Converts the response into a stream. Buffered contents become a stream that is ready.
    pub fn into_stream(self) -> ContentStream {
        match self.body {
            Body::One(content) => ContentStream::new(Buffered(vec![content].into_iter())),
            Body::Many(contents) => ContentStream::new(Buffered(contents.into_iter())),
            Body::Stream(stream) => stream,
        }
    }

    /// Reads the response to its end.
    ///
    /// # Errors
    /// The error that ended a stream early. Its partial result has the items that were read before,
    /// each once. None of them counts as delivered.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropping the future ends the call, and the items read so far are lost.
    pub async fn collect(self) -> Result<Collected, ToolError> {
        let contents = match self.body {
            Body::One(content) => vec![content],
            Body::Many(contents) => contents,
            Body::Stream(stream) => read(stream).await?,
        };
        Ok(Collected {
            contents,
            is_error: self.is_error,
            line_ends: self.line_ends,
            meta: self.meta,
        })
    }

    /// Returns these contents as a collected response with the settings of this one: whether it
    /// reports a failure, its line ends and its metadata. For layers that record a response.
    #[must_use]
    pub fn to_collected(&self, contents: Vec<Content>) -> Collected {
        Collected {
            contents,
            is_error: self.is_error,
            line_ends: self.line_ends,
            meta: self.meta.clone(),
        }
    }

    const fn new(body: Body) -> Self {
        Self {
            body,
            is_error: false,
            line_ends: false,
            meta: None,
        }
    }
}

impl From<Content> for ToolOutput {
    fn from(content: Content) -> Self {
        Self::new(Body::One(content))
    }
}

/// A buffered response.
impl From<Collected> for ToolOutput {
    fn from(collected: Collected) -> Self {
        Self {
            body: Body::Many(collected.contents),
            is_error: collected.is_error,
            line_ends: collected.line_ends,
            meta: collected.meta,
        }
    }
}

async fn read(mut stream: ContentStream) -> Result<Vec<Content>, ToolError> {
    let mut contents = Vec::new();
    while let Some(item) = poll_fn(|cx| Pin::new(&mut stream).poll_next(cx)).await {
        match item {
            Ok(content) => contents.push(content),
            Err(mut error) => {
                // A partial-result layer has kept these items already, and the emitted ones.
                let mut partial = match error.shared_partial() {
                    Some(kept) if kept.contents.len() >= contents.len() => Partial::clone(kept),
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
    /// Returns the items in order.
    #[must_use]
    pub fn contents(&self) -> &[Content] {
        &self.contents
    }

    /// Returns the items in order, by value.
    #[must_use]
    pub fn into_contents(self) -> Vec<Content> {
        self.contents
    }

    /// Replaces the items.
    #[must_use]
    pub fn with_contents(mut self, contents: Vec<Content>) -> Self {
        self.contents = contents;
        self
    }

    /// Returns the whole response as text for a model.
    ///
    /// Texts are concatenated as they are. Any other content is on a line of its own, as
    /// [`Content::to_text`] writes it. The text is empty only for a response without contents, or
    /// with empty texts alone. If the tool set [`with_line_ends`](ToolOutput::with_line_ends), each
    /// text begins a line as well.
    ///
    /// ```
    /// use serde_json::json;
    /// use toolbooth_core::ToolOutput;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), toolbooth_core::ToolError> {
    /// let mixed = vec!["two ".into(), "hits:".into(), json!([3, 9]).into(), "done".into()];
    /// let collected = ToolOutput::contents(mixed).collect().await?;
    /// assert_eq!(collected.text(), "two hits:\n[3,9]\ndone");
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn text(&self) -> String {
        Content::join(&self.contents, self.line_ends)
    }

    /// Returns whether the response reports a failure of the tool.
    #[must_use]
    pub const fn is_error(&self) -> bool {
        self.is_error
    }

    /// Returns the metadata, if any was added.
    #[must_use]
    pub fn meta(&self) -> Option<&Map<String, Value>> {
        self.meta.as_deref()
    }
}

// === streams ===

struct Buffered(std::vec::IntoIter<Content>);

impl Stream for Buffered {
    type Item = Result<Content, ToolError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.next().map(Ok))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

pin_project_lite::pin_project! {
    struct ConvertErrors<S> {
        #[pin]
        stream: S,
    }
}

impl<S, E> Stream for ConvertErrors<S>
where
    S: Stream<Item = Result<Content, E>>,
    E: Into<BoxError> + 'static,
{
    type Item = Result<Content, ToolError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = std::task::ready!(self.project().stream.poll_next(cx));
        Poll::Ready(item.map(|item| item.map_err(ToolError::from_error)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.stream.size_hint()
    }
}

// === IntoToolOutput ===

/// Converts the return value of a handler: a [`ToolOutput`], or a value that serializes to JSON.
///
/// A string becomes [`Content::Text`], and any other value [`Content::Json`]. `()` and unit structs
/// are no content.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the response of a tool",
    label = "neither a `ToolOutput` nor `Serialize`",
    note = "derive `serde::Serialize` for it, or return a `toolbooth::ToolOutput`"
)]
pub trait IntoToolOutput {
    /// Converts the value into a response.
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
            // `None` has a size, and is `null`.
            Ok(Value::Null) if size_of::<T>() == 0 => Ok(ToolOutput::contents(Vec::new())),
            Ok(value) => Ok(ToolOutput::json(value)),
            Err(error) => Err(ToolError::failed(error)),
        }
    }
}
