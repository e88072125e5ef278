use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use toolbooth_core::{BoxError, End, Moment, Part, ToolError, ToolResponse, Watch};
use tower_service::Service;

use super::gcra::Gcra;
use crate::middleware::{Admit, Guarded};
use crate::queue::{Rejection, Waiter, trace_rejection};

pin_project! {
    /// The future of a call under a rate limit. It may wait for a token.
    #[must_use = "dropping it ends the call"]
    pub struct ResponseFuture<S, R>
    where
        S: Service<R>,
    {
        #[pin]
        guarded: Guarded<S, R, ResponseWatch, Acquire>,
    }
}

/// Follows the call to its end. A token is spent when it is acquired.
#[derive(Debug)]
pub struct ResponseWatch {
    part: Part,
}

/// A call that waits for its tokens.
#[derive(Debug)]
pub(super) struct Acquire(Waiter<Gcra>);

// === impl ResponseFuture ===

impl<S: Service<R>, R> ResponseFuture<S, R> {
    pub(super) const fn new(guarded: Guarded<S, R, ResponseWatch, Acquire>) -> Self {
        Self { guarded }
    }
}

impl<S, R> Future for ResponseFuture<S, R>
where
    S: Service<R>,
    S::Response: ToolResponse,
    S::Error: Into<BoxError> + 'static,
{
    type Output = Result<<S::Response as ToolResponse>::Watched<ResponseWatch>, ToolError>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().guarded.poll(cx)
    }
}

impl<S: Service<R>, R> fmt::Debug for ResponseFuture<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

// === impl ResponseWatch ===

impl ResponseWatch {
    pub(super) const fn new(part: Part) -> Self {
        Self { part }
    }
}

impl Watch for ResponseWatch {
    fn part(&self) -> Option<&Part> {
        Some(&self.part)
    }

    #[inline(always)]
    fn on_end(self, end: End<'_>) {
        self.part.end(end, |_, _| ());
    }
}

// === impl Acquire ===

impl Acquire {
    pub(super) const fn new(waiter: Waiter<Gcra>) -> Self {
        Self(waiter)
    }
}

impl Admit<ResponseWatch> for Acquire {
    fn poll_admit(
        &mut self,
        watch: &mut ResponseWatch,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ToolError>> {
        let part = &watch.part;
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
