use std::fmt;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tokio::time::Instant;
use toolbooth_core::{
    Bound, BoxError, CancelReason, End, Item, Moment, Part, ToolError, ToolResponse, Watch,
};
use tower_service::Service;

use super::limits::Limited;
use super::timer::Timer;
use crate::middleware::Guarded;

pin_project! {
    /// A call that is cut when it takes too long.
    #[must_use = "dropping it ends the call"]
    pub struct ResponseFuture<S, R>
    where
        S: Service<R>,
    {
        #[pin]
        guarded: Guarded<S, R, ResponseWatch>,
        timer: Timer,
    }
}

/// Cuts a streamed answer that takes too long.
#[derive(Debug)]
pub struct ResponseWatch {
    part: Part,
    limits: Limited,
}

// === impl ResponseFuture ===

impl<S: Service<R>, R> ResponseFuture<S, R> {
    pub(super) const fn new(guarded: Guarded<S, R, ResponseWatch>) -> Self {
        let timer = Timer::none();
        Self { guarded, timer }
    }

    /// Waits for the limit that strikes, and tells what is further in.
    fn poll_limit(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Bound> {
        let this = self.project();
        let Some(watch) = this.guarded.watch() else {
            return Poll::Pending;
        };
        if !this.timer.is_set() {
            let Some(at) = watch.limits.look_at(Moment::now) else {
                return Poll::Pending;
            };
            this.timer.set(at);
        }
        loop {
            ready!(this.timer.poll(cx));
            match watch.limits.look_at(Moment::now) {
                // Signs of life have moved the limit since the timer was set.
                Some(at) if at > Moment::now() => this.timer.set(at),
                Some(_) => {
                    if let Some(struck) = watch.strike() {
                        return Poll::Ready(struck);
                    }
                }
                None => return Poll::Pending,
            }
        }
    }
}

impl<S, R> ResponseFuture<S, R>
where
    S: Service<R>,
    S::Response: ToolResponse,
    S::Error: Into<BoxError> + 'static,
{
    /// Behind the limit: waits for the tool to finish by itself, or for the end of the time that it has for that.
    fn poll_grace(self: Pin<&mut Self>, struck: Bound, cx: &mut Context<'_>) -> Poll<ToolError> {
        let mut this = self.project();
        let late = match this.guarded.as_mut().poll_stage(cx) {
            Poll::Ready(late) => Some(late.map(ToolResponse::into_contents)),
            Poll::Pending => {
                let watch = this.guarded.as_mut().watch();
                // The owner of the call ends the grace, too.
                let by_owner = watch.is_some_and(|watch| watch.part.poll_cancelled(cx).is_ready());
                match this.timer.poll(cx) {
                    Poll::Pending if !by_owner => return Poll::Pending,
                    _ => None,
                }
            }
        };
        let Some(watch) = this.guarded.as_mut().watch() else {
            return Poll::Pending;
        };
        let timeout = struck.error(watch.part.context());
        let timeout = match late {
            None => timeout,
            Some(Ok(contents)) => {
                if !contents.is_empty() {
                    watch.part.keep_late(contents);
                }
                timeout
            }
            // It only says that it was told to stop.
            Some(Err(ToolError::Cancelled { .. })) => timeout,
            Some(Err(error)) => timeout.with_late(error),
        };
        Poll::Ready(this.guarded.fail(timeout))
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
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let struck = match self.timer.struck() {
            Some(struck) => struck,
            None => {
                // The call before its limit: an answer that is ready when the limit strikes counts.
                if let Poll::Ready(answer) = self.as_mut().project().guarded.poll(cx) {
                    return Poll::Ready(answer);
                }
                let struck = ready!(self.as_mut().poll_limit(cx));
                let mut this = self.as_mut().project();
                let Some(watch) = this.guarded.as_mut().watch() else {
                    return Poll::Pending;
                };
                let Some(end) = watch.limits.grace(struck) else {
                    let timeout = struck.error(watch.part.context());
                    return Poll::Ready(Err(this.guarded.fail(timeout)));
                };
                this.timer.strike(struck, end);
                struck
            }
        };
        self.poll_grace(struck, cx).map(Err)
    }
}

impl<S: Service<R>, R> fmt::Debug for ResponseFuture<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("struck", &self.timer.struck())
            .finish_non_exhaustive()
    }
}

// === impl ResponseWatch ===

impl ResponseWatch {
    pub(super) const fn new(part: Part, limits: Limited) -> Self {
        Self { part, limits }
    }

    /// The limit strikes, if it has come: what is further in is told.
    fn strike(&mut self) -> Option<Bound> {
        let bound = self.limits.struck(Moment::now)?;
        let context = self.part.context();
        let (limit, waited) = (bound.limit(), context.elapsed());
        tracing::debug!(tool = context.tool(), call_id = %context.id(), scope = %bound.scope(), ?limit, ?waited, "timed out");
        self.part.cancel(CancelReason::Timeout);
        Some(bound)
    }

    /// The error of a streamed answer, if the limit has come. It strikes once.
    fn cut(&mut self) -> Option<ToolError> {
        let bound = self.strike()?;
        self.limits = Limited::default();
        Some(bound.error(self.part.context()))
    }
}

impl Watch for ResponseWatch {
    fn part(&self) -> Option<&Part> {
        Some(&self.part)
    }

    fn poll_interrupt(&mut self, _: &mut Context<'_>) -> Poll<ToolError> {
        match self.cut() {
            Some(timeout) => Poll::Ready(timeout),
            None => Poll::Pending,
        }
    }

    fn expires_at(&self) -> Option<Instant> {
        self.limits.look_at(Moment::now).map(Moment::instant)
    }

    fn on_item(&mut self, _: Item<'_>) -> ControlFlow<ToolError> {
        self.limits.item(Moment::now);
        match self.cut() {
            Some(timeout) => ControlFlow::Break(timeout),
            None => ControlFlow::Continue(()),
        }
    }

    #[inline(always)]
    fn on_end(self, end: End<'_>) {
        self.part.end(end, |_, _| ());
    }
}
