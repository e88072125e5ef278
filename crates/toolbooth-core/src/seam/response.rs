use bytes::Bytes;
use serde_json::Value;

use super::follow::{Followed, Items};
use super::{End, Item, ResponseHead, Watch};
use crate::error::ToolError;
use crate::response::{Body, Content, ContentStream, ToolOutput};

/// An answer that a layer can follow to its end.
///
/// For an answer that is there as a whole, the end is the moment at which it is returned; the
/// macro [`whole_response!`](crate::whole_response) says so of a type of your own.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a tool's answer that a layer can follow to its end",
    label = "`ToolResponse` is not implemented for this answer",
    note = "answer with a `toolbooth::ToolOutput`, or with an `http::Response` and the feature `http`",
    note = "for an answer of your own that is returned as a whole, say `toolbooth::whole_response!({Self});` beside its definition"
)]
pub trait ToolResponse: Sized {
    /// The same answer, watched: again an answer that can be watched.
    type Watched<W: Watch>: ToolResponse;

    /// Puts a watch into the answer.
    fn watch<W: Watch>(self, watch: W) -> Self::Watched<W>;

    /// What there is to keep of an answer that comes too late: its contents, where it is a tool's and there as a whole.
    fn into_contents(self) -> Vec<Content> {
        Vec::new()
    }
}

/// Makes types of your own answers that are returned as a whole.
///
/// ```
/// #[derive(Debug)]
/// struct Weather { celsius: f32 }
///
/// toolbooth_core::whole_response!(Weather);
///
/// fn is_answer<T: toolbooth_core::ToolResponse>(_: &T) {}
/// let weather = Weather { celsius: 21.5 };
/// is_answer(&weather);
/// assert_eq!(weather.celsius, 21.5);
/// ```
#[macro_export]
macro_rules! whole_response {
    ($($answer:ty),+ $(,)?) => {$(
        impl $crate::ToolResponse for $answer {
            type Watched<W: $crate::Watch> = Self;

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
        watch.on_response(ResponseHead::Tool(&self));
        match self.body {
            Body::Stream(stream) => {
                self.body = Body::Stream(ContentStream::new(Followed::new(stream, watch)));
            }
            Body::One(_) | Body::Many(_) if self.is_error() => {
                watch.on_end(End::Failed(&mut ToolError::failed(
                    "the tool answered with an error",
                )));
            }
            Body::One(_) | Body::Many(_) => watch.on_end(End::Complete),
        }
        self
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
