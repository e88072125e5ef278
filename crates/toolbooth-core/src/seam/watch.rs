use std::task::{Context, Poll};

use tokio::time::Instant;

use super::Part;
use crate::error::ToolError;
use crate::outcome::{CancelReason, Outcome};
use crate::response::{Content, ToolOutput};
use std::ops::ControlFlow;

/// How a layer follows an answer until its last byte is delivered.
///
/// [`ToolResponse::watch`](crate::ToolResponse::watch) puts it into the answer. It is told the end
/// once, by value, however the answer ends; so what the layer took for the call can live in it.
pub trait Watch: Send + Unpin + Sized + 'static {
    /// Returns the layer's part of the call, if it has one.
    ///
    /// A streaming response with a part ends when its call is [cancelled](crate::Canceller), and
    /// an HTTP response reads from its context whether the request was a HEAD.
    fn part(&self) -> Option<&Part> {
        None
    }

    /// The answer is there: told before anything of it is on its way to the consumer.
    fn on_response(&mut self, answer: ResponseHead<'_>) {
        let _ = answer;
    }

    /// Asked after the answer had nothing to give: an error cuts the answer.
    fn poll_interrupt(&mut self, cx: &mut Context<'_>) -> Poll<ToolError> {
        let _ = cx;
        Poll::Pending
    }

    /// When the answer is to be cut even if nobody polls it; then [`poll_interrupt`](Self::poll_interrupt) gives the
    /// error. It is asked again when that instant has come: a later one is waited for in its turn.
    fn expires_at(&self) -> Option<Instant> {
        None
    }

    /// Whether a panic of a streamed answer becomes the error that ends it, instead of going on to the consumer.
    fn catches_panics(&self) -> bool {
        false
    }

    /// A piece of a streamed answer, on its way to the consumer: `Break` cuts the answer behind it.
    fn on_item(&mut self, piece: Item<'_>) -> ControlFlow<ToolError> {
        let _ = piece;
        ControlFlow::Continue(())
    }

    /// The end of the answer: its source is gone, its consumer has not seen the end yet.
    fn on_end(self, end: End<'_>);
}

/// An answer, as it is when it is returned: of a streamed one, all but the stream.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum ResponseHead<'a> {
    /// A tool's.
    Tool(&'a ToolOutput),
    /// The head of an HTTP answer.
    #[cfg(feature = "http")]
    Http(&'a http::response::Parts),
}

/// A piece of a streamed answer.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Item<'a> {
    /// A piece of a tool's answer.
    Content(&'a Content),
    /// A frame of an HTTP body, of so many bytes.
    Frame(usize),
}

/// How an answer ended, told to the layers that watch it.
#[derive(Debug)]
#[non_exhaustive]
pub enum End<'a> {
    /// Delivered to its last byte.
    Complete,
    /// With this error, which the consumer gets: a layer may add to it.
    Failed(&'a mut ToolError),
    /// The tool panicked.
    Panicked,
    /// Dropped before its end.
    Dropped(CancelReason),
}

// === impl End ===

impl End<'_> {
    /// The outcome of a call that ends so.
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
