use std::task::{Context, Poll, ready};

use toolbooth_core::{Moment, Part, ToolError};

use super::gcra::Gcra;
use crate::middleware::{Acquire, LayerFuture, LayerWatch};
use crate::queue::{Rejection, Waiter, trace_rejection};

/// The future of [`RateLimit`](super::RateLimit).
pub type ResponseFuture<S, R> = LayerFuture<S, R, ResponseWatch, AcquireToken>;

/// Follows the call to its end. A token is spent when it is acquired.
#[derive(Debug)]
pub struct ResponseWatch(());

/// A call that waits for its tokens.
#[derive(Debug)]
pub struct AcquireToken(Waiter<Gcra>);

// === impl ResponseWatch ===

impl ResponseWatch {
    pub(super) const fn new() -> Self {
        Self(())
    }
}

impl LayerWatch for ResponseWatch {}

// === impl AcquireToken ===

impl AcquireToken {
    pub(super) const fn new(waiter: Waiter<Gcra>) -> Self {
        Self(waiter)
    }
}

impl Acquire<ResponseWatch> for AcquireToken {
    fn poll_acquire(
        &mut self,
        part: &Part,
        _: &mut ResponseWatch,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ToolError>> {
        let context = part.context();
        let Err(rejection) = ready!(self.0.poll(part, cx)) else {
            return Poll::Ready(Ok(()));
        };
        trace_rejection("rate", context, &rejection, self.0.waited());
        Poll::Ready(Err(match rejection {
            Rejection::TooLate(after) => ToolError::rate_limited(after),
            Rejection::WaitedTooLong(_) => {
                let now = Moment::now();
                let due = self.0.queue().due(self.0.cost(), now);
                ToolError::rate_limited(due.map_or_else(Default::default, |due| due.since(now)))
            }
            rejection => rejection.error(context),
        }))
    }
}
