use bytes::Bytes;
use serde_json::Value;

use super::follow::{Followed, Items};
use super::{End, Item, ResponseHead, Watch};
use crate::error::ToolError;
use crate::response::{Body, Content, ContentStream, ToolOutput};

/// A response that a layer can observe until its end.
///
/// A buffered response ends when it is returned. The macro
/// [`whole_response!`](crate::whole_response) implements this trait for buffered types.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a response that a layer can observe until its end",
    label = "`ToolResponse` is not implemented for this response",
    note = "return a `toolbooth::ToolOutput`, or an `http::Response` with the feature `http`",
    note = "for a buffered response type of your own, write \
        `toolbooth::whole_response!({Self});` next to its definition"
)]
pub trait ToolResponse: Sized {
    /// The response with a watch, which can be watched again.
    type Watched<W: Watch>: ToolResponse;

    /// Attaches a watch to the response.
    fn watch<W: Watch>(self, watch: W) -> Self::Watched<W>;

    /// Calls `inspect` with the head of the response. Returns `None` for a response without one.
    fn inspect_head<T>(&mut self, inspect: impl FnOnce(ResponseHead<'_>) -> T) -> Option<T> {
        drop(inspect);
        None
    }

    /// Returns the contents of a buffered response of a tool, for the partial result of a call
    /// whose limit has expired.
    fn into_contents(self) -> Vec<Content> {
        Vec::new()
    }
}

/// Implements [`ToolResponse`](crate::ToolResponse) for types of buffered responses.
///
/// ```
/// #[derive(Debug)]
/// struct Weather { celsius: f32 }
///
/// toolbooth_core::whole_response!(Weather);
///
/// fn is_response<T: toolbooth_core::ToolResponse>(_: &T) {}
/// let weather = Weather { celsius: 21.5 };
/// is_response(&weather);
/// assert_eq!(weather.celsius, 21.5);
/// ```
#[macro_export]
macro_rules! whole_response {
    ($($response:ty),+ $(,)?) => {$(
        impl $crate::ToolResponse for $response {
            type Watched<W: $crate::Watch> = Self;

            #[inline(always)]
            fn watch<W: $crate::Watch>(self, watch: W) -> Self {
                watch.on_end($crate::End::Complete);
                self
            }
        }
    )+};
}

whole_response!(
    (),
    bool,
    i32,
    i64,
    u32,
    u64,
    usize,
    f64,
    &'static str,
    String,
    Bytes,
    Vec<u8>,
    Value,
    Content
);

impl ToolResponse for ToolOutput {
    type Watched<W: Watch> = Self;

    fn watch<W: Watch>(mut self, mut watch: W) -> Self {
        if !watch.is_entered() {
            return self;
        }
        watch.on_response(ResponseHead::Tool(&self));
        match self.body {
            Body::Stream(stream) => {
                self.body = Body::Stream(ContentStream::new(Followed::new(stream, watch)));
            }
            Body::One(_) | Body::Many(_) if self.is_error() => {
                watch.on_end(End::Failed(&mut ToolError::failed(
                    "the response reports an error",
                )));
            }
            Body::One(_) | Body::Many(_) => watch.on_end(End::Complete),
        }
        self
    }

    fn inspect_head<T>(&mut self, inspect: impl FnOnce(ResponseHead<'_>) -> T) -> Option<T> {
        Some(inspect(ResponseHead::Tool(self)))
    }

    fn into_contents(self) -> Vec<Content> {
        match self.body {
            Body::One(content) => vec![content],
            Body::Many(contents) => contents,
            Body::Stream(_) => Vec::new(),
        }
    }
}

impl Items for ContentStream {
    type Item = Content;

    fn poll_item(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Content, ToolError>>> {
        futures_core::Stream::poll_next(self, cx)
    }

    fn seen(item: &Content) -> Item<'_> {
        Item::Content(item)
    }
}

impl<W: Watch> futures_core::Stream for Followed<ContentStream, W> {
    type Item = Result<Content, ToolError>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.poll_item(cx)
    }
}
