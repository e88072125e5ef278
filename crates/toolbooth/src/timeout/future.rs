use std::fmt;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};
use toolbooth_core::{
    Bound, BoxError, CallContext, CancelReason, End, Moment, Part, Piece, ToolError, ToolResponse,
    Watch,
};
use tower_service::Service;

use crate::shell::{Guarded, LayerWatch};

pin_project! {
    /// A call that is cut when it takes too long.
    #[must_use = "dropping it ends the call"]
    pub struct ResponseFuture<S, R>
    where
        S: Service<R>,
    {
        #[pin]
        guarded: Guarded<S, R, ResponseWatch>,
        at: Option<Moment>,
        // Made when the call is first pending: a call that need not wait has no timer.
        #[pin]
        timer: Option<Sleep>,
    }
}

/// Cuts a streamed answer that takes too long.
#[derive(Debug)]
pub struct ResponseWatch {
    part: Part,
    bound: Option<Bound>,
}

// === impl ResponseFuture ===

impl<S: Service<R>, R> ResponseFuture<S, R> {
    pub(super) fn new(guarded: Guarded<S, R, ResponseWatch>, bound: Option<Bound>) -> Self {
        Self {
            guarded,
            at: bound.map(|bound| bound.at),
            timer: None,
        }
    }
}

impl<S, R> Future for ResponseFuture<S, R>
where
    S: Service<R>,
    S::Response: ToolResponse,
    S::Error: Into<BoxError> + 'static,
{
    type Output = Result<<S::Response as ToolResponse>::Watched<ResponseWatch>, ToolError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        // The call before its limit: an answer that is ready when the limit strikes counts.
        if let Poll::Ready(answer) = this.guarded.as_mut().poll(cx) {
            return Poll::Ready(answer);
        }
        let Some(at) = *this.at else {
            return Poll::Pending;
        };
        if this.timer.is_none() {
            this.timer.set(Some(sleep_until(at.instant())));
        }
        if let Some(timer) = this.timer.as_mut().as_pin_mut() {
            // A tool that never waits is pending only for having used up the task's budget, and
            // the timer must not be held back by that very budget.
            ready!(std::pin::pin!(unconstrained(timer)).poll(cx));
        }
        match this
            .guarded
            .as_mut()
            .watch()
            .and_then(ResponseWatch::strike)
        {
            Some(timeout) => Poll::Ready(Err(this.guarded.fail(timeout))),
            None => Poll::Pending,
        }
    }
}

impl<S: Service<R>, R> fmt::Debug for ResponseFuture<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

// === impl ResponseWatch ===

impl ResponseWatch {
    pub(super) const fn new(part: Part, bound: Option<Bound>) -> Self {
        Self { part, bound }
    }

    /// The limit strikes: what is further in is told, and the error is made.
    fn strike(&mut self) -> Option<ToolError> {
        let bound = self.bound?;
        let context = self.part.context();
        let (limit, waited) = (bound.limit, context.elapsed());
        tracing::debug!(tool = context.tool(), call_id = %context.id(), scope = %bound.scope, ?limit, ?waited, "timed out");
        self.part.cancel(CancelReason::Timeout);
        Some(bound.error(context))
    }

    /// The error, if the limit has come.
    fn struck(&mut self) -> Option<ToolError> {
        let bound = self.bound?;
        (bound.at <= Moment::now()).then(|| self.strike()).flatten()
    }
}

impl LayerWatch for ResponseWatch {
    fn part(&self) -> Option<&Part> {
        Some(&self.part)
    }
}

impl Watch for ResponseWatch {
    fn context(&self) -> Option<&CallContext> {
        Some(self.part.context())
    }

    fn poll_interrupt(&mut self, _: &mut Context<'_>) -> Poll<ToolError> {
        match self.struck() {
            Some(timeout) => Poll::Ready(timeout),
            None => Poll::Pending,
        }
    }

    fn cut_at(&self) -> Option<Instant> {
        self.bound.map(|bound| bound.at.instant())
    }

    fn on_content(&mut self, _: Piece<'_>) -> ControlFlow<ToolError> {
        match self.struck() {
            Some(timeout) => ControlFlow::Break(timeout),
            None => ControlFlow::Continue(()),
        }
    }

    fn on_end(self, end: End<'_>) {
        self.part.end(end, |_, _| ());
    }
}
