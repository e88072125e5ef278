use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use toolbooth_core::{BoxError, End, Moment, Part, ToolError, ToolResponse, Watch};
use tower_service::Service;

use super::gcra::Gcra;
use crate::middleware::{Admit, Guarded};
use crate::queue::{Place, Rejection, trace_rejection};

pin_project! {
    /// A call under a rate limit. It holds its place in line, if it must wait.
    #[must_use = "dropping it ends the call"]
    pub struct ResponseFuture<S, R>
    where
        S: Service<R>,
    {
        #[pin]
        guarded: Guarded<S, R, ResponseWatch, Admission>,
    }
}

/// Follows the call to its end; a token is spent when it is taken.
#[derive(Debug)]
pub struct ResponseWatch {
    part: Part,
}

/// A place in line for a token.
#[derive(Debug)]
pub(super) struct Admission(Place<Gcra>);

// === impl ResponseFuture ===

impl<S: Service<R>, R> ResponseFuture<S, R> {
    pub(super) const fn new(guarded: Guarded<S, R, ResponseWatch, Admission>) -> Self {
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

// === impl Admission ===

impl Admission {
    pub(super) const fn new(place: Place<Gcra>) -> Self {
        Self(place)
    }
}

impl Admit<ResponseWatch> for Admission {
    fn poll_admit(
        &mut self,
        watch: &mut ResponseWatch,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ToolError>> {
        let part = &watch.part;
        let context = part.context();
        let Err(refusal) = ready!(self.0.poll(part, cx)) else {
            return Poll::Ready(Ok(()));
        };
        trace_rejection("rate", context, &refusal, self.0.waited());
        Poll::Ready(Err(match refusal {
            Rejection::TooLate(after) => ToolError::rate_limited(after),
            Rejection::WaitedTooLong(_) => {
                let now = Moment::now();
                let due = self.0.line().due(self.0.cost(), now);
                ToolError::rate_limited(due.map_or_else(Default::default, |due| due.since(now)))
            }
            refusal => refusal.error(context),
        }))
    }
}
