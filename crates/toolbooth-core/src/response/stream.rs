use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::Content;
use crate::error::ToolError;

type BoxStream = Pin<Box<dyn Stream<Item = Result<Content, ToolError>> + Send>>;

/// The items of a response as a stream.
///
/// A stream that ends early ends with one `Err`. Dropping the stream ends the call.
#[must_use = "dropping it ends the call"]
pub struct ContentStream(BoxStream);

// === impl ContentStream ===

impl ContentStream {
    pub(crate) fn new(
        stream: impl Stream<Item = Result<Content, ToolError>> + Send + 'static,
    ) -> Self {
        Self(Box::pin(stream))
    }
}

impl Stream for ContentStream {
    type Item = Result<Content, ToolError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl fmt::Debug for ContentStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContentStream").finish_non_exhaustive()
    }
}
