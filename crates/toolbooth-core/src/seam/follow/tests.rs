//! How a streaming response ends without a task beside it.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use futures_util::stream;

use super::Followed;
use crate::call::ToolCall;
use crate::error::ToolError;
use crate::outcome::CancelReason;
use crate::response::{Content, ContentStream};
use crate::seam::{End, Part, Watch};

/// A watch that ends its part.
struct Ends(Part);

impl Watch for Ends {
    fn part(&self) -> Option<&Part> {
        Some(&self.0)
    }

    fn on_end(self, end: End<'_>) {
        self.0.end(end, |_, _| ());
    }
}

/// Without a runtime there is no task: the consumer's next poll ends the response.
#[test]
fn ready_stream_ends_at_the_next_item_after_cancellation_without_a_runtime() {
    let call = ToolCall::new("tool", ());
    let canceller = call.canceller();
    let part = Part::enter(call.context());
    let items = ContentStream::new(stream::repeat_with(|| Ok(Content::from("item"))));
    let mut followed = pin!(Followed::new(items, Ends(part)));
    let mut cx = Context::from_waker(Waker::noop());
    let mut poll = || followed.as_mut().poll_item(&mut cx);
    assert!(matches!(poll(), Poll::Ready(Some(Ok(_)))));
    canceller.cancel();
    assert!(matches!(poll(), Poll::Ready(Some(Ok(_)))));
    let cancelled = poll();
    assert!(matches!(
        cancelled,
        Poll::Ready(Some(Err(ToolError::Cancelled {
            reason: CancelReason::Explicit,
            ..
        })))
    ));
    assert!(matches!(poll(), Poll::Ready(None)));
}
