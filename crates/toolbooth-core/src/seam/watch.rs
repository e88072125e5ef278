use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::Instant;
use tracing::Span;

use super::Part;
use crate::error::ToolError;
use crate::outcome::{CancelReason, Outcome};
use crate::response::{Content, ToolOutput};

/// Observes a response until its last byte is delivered.
///
/// [`ToolResponse::watch`](crate::ToolResponse::watch) attaches it to the response.
/// [`on_end`](Self::on_end) is called once, by value, for every kind of end. So the guards of the
/// layer, such as permits, can live in it.
pub trait Watch: Send + Unpin + Sized + 'static {
    /// Returns the layer's part of the call, if it has one.
    ///
    /// A streaming response with a part ends when its call is [cancelled](crate::Canceller), and
    /// an HTTP response reads from its context whether the request was a HEAD.
    fn part(&self) -> Option<&Part> {
        None
    }

    /// Returns whether the call entered the layer of this watch. If not, the response is not
    /// watched.
    fn is_entered(&self) -> bool {
        true
    }

    /// Called when the inner service has returned a response, before the consumer receives it.
    fn on_response(&mut self, head: ResponseHead<'_>) {
        let _ = head;
    }

    /// Called by each poll in which the response is pending. An error ends the response.
    ///
    /// A response or item that is ready has precedence.
    fn poll_interrupt(&mut self, cx: &mut Context<'_>) -> Poll<ToolError> {
        let _ = cx;
        Poll::Pending
    }

    /// Returns when a streaming response expires, whether or not its consumer polls it.
    ///
    /// At that instant [`poll_interrupt`](Self::poll_interrupt) is called for the error, and
    /// `expires_at` again: it may return a later instant.
    fn expires_at(&self) -> Option<Instant> {
        None
    }

    /// Returns a future that completes when a streaming response is to end, whether or not its
    /// consumer polls it. It is called once.
    ///
    /// When the future completes, [`poll_interrupt`](Self::poll_interrupt) is called for the error.
    fn interrupted(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        None
    }

    /// Returns whether a panic of a streaming response becomes the error that ends it, instead of
    /// unwinding into the consumer.
    fn catches_panics(&self) -> bool {
        false
    }

    /// Returns the span that a streaming response is polled and dropped in. `None` by default.
    fn span(&self) -> Option<&Span> {
        None
    }

    /// Called with each item of a streaming response, before the consumer receives it.
    ///
    /// `Break` ends the response after this item.
    fn on_item(&mut self, item: Item<'_>) -> ControlFlow<ToolError> {
        let _ = item;
        ControlFlow::Continue(())
    }

    /// Called at the end of the response. The inner future or stream is dropped already, and the
    /// consumer has not received the end yet.
    fn on_end(self, end: End<'_>);
}

/// A response when it is returned. Of a streaming response, everything but the stream.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum ResponseHead<'a> {
    /// The response of a tool.
    Tool(&'a ToolOutput),
    /// The head of an HTTP response.
    #[cfg(feature = "http")]
    Http(&'a http::response::Parts),
}

/// An item of a streaming response.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Item<'a> {
    /// An item of a tool's response.
    Content(&'a Content),
    /// A frame of an HTTP body, with its length in bytes.
    Frame(usize),
    /// The trailers of an HTTP body.
    #[cfg(feature = "http")]
    Trailers(&'a http::HeaderMap),
}

/// The end of a response, passed to the watches of its layers.
#[derive(Debug)]
#[non_exhaustive]
pub enum End<'a> {
    /// The response was delivered to its last byte.
    Complete,
    /// The call failed with the error that the consumer receives. A layer may add to it.
    Failed(&'a mut ToolError),
    /// The tool panicked.
    Panicked,
    /// The response was dropped before its end.
    Dropped(CancelReason),
}

// === impl ResponseHead ===

#[cfg(feature = "http")]
impl ResponseHead<'_> {
    /// Returns whether this is the head of a gRPC response, by its content type. Its status may be
    /// in the trailers. Those of gRPC-Web are in the body, so that is not included.
    #[must_use]
    pub fn is_grpc(&self) -> bool {
        let Self::Http(head) = self else { return false };
        let media_type = head.headers.get(http::header::CONTENT_TYPE);
        media_type.is_some_and(|media_type| {
            let media_type = media_type.as_bytes();
            media_type.starts_with(b"application/grpc")
                && !media_type.starts_with(b"application/grpc-web")
        })
    }
}

// === impl End ===

impl End<'_> {
    /// Returns the outcome of a call with this end.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::Complete => Outcome::Completed,
            Self::Failed(error) => error.outcome(),
            Self::Panicked => Outcome::Panicked,
            Self::Dropped(reason) => reason.outcome(),
        }
    }
}
