use std::fmt;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tokio::time::Instant;
use toolbooth_core::{Bound, BoxError, CancelReason, Item, Moment, Part, ToolError, ToolResponse};
use tower_service::Service;

use super::limits::Limited;
use super::timer::Timer;
use crate::middleware::{LayerFuture, LayerWatch, PartWatch};

pin_project! {
    /// A call that is cut when it takes too long.
    #[must_use = "dropping it ends the call"]
    pub struct ResponseFuture<S, R>
    where
        S: Service<R>,
    {
        #[pin]
        inner: LayerFuture<S, R, ResponseWatch>,
        timer: Timer,
    }
}

/// Cuts a streamed answer that takes too long.
#[derive(Debug)]
pub struct ResponseWatch {
    limits: Limited,
}

// === impl ResponseFuture ===

impl<S: Service<R>, R> ResponseFuture<S, R> {
    pub(super) const fn new(inner: LayerFuture<S, R, ResponseWatch>) -> Self {
        let timer = Timer::none();
        Self { inner, timer }
    }

    /// Waits for the limit that strikes, and tells what is further in.
    fn poll_limit(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Bound> {
        let this = self.project();
        let Some((part, watch)) = this.inner.watch() else {
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
                    if let Some(struck) = watch.strike(part) {
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
        let late = match this.inner.as_mut().poll_response(cx) {
            Poll::Ready(late) => Some(late.map(ToolResponse::into_contents)),
            Poll::Pending => {
                let watched = this.inner.as_mut().watch();
                // The owner of the call ends the grace, too.
                let by_owner = watched.is_some_and(|(part, _)| part.poll_cancelled(cx).is_ready());
                match this.timer.poll(cx) {
                    Poll::Pending if !by_owner => return Poll::Pending,
                    _ => None,
                }
            }
        };
        let Some((part, _)) = this.inner.as_mut().watch() else {
            return Poll::Pending;
        };
        let timeout = struck.error(part.context());
        let timeout = match late {
            None => timeout,
            Some(Ok(contents)) => {
                if !contents.is_empty() {
                    part.keep_late(contents);
                }
                timeout
            }
            // It only says that it was told to stop.
            Some(Err(ToolError::Cancelled { .. })) => timeout,
            Some(Err(error)) => timeout.with_late(error),
        };
        Poll::Ready(this.inner.fail(timeout))
    }
}

impl<S, R> Future for ResponseFuture<S, R>
where
    S: Service<R>,
    S::Response: ToolResponse,
    S::Error: Into<BoxError> + 'static,
{
    type Output =
        Result<<S::Response as ToolResponse>::Watched<PartWatch<ResponseWatch>>, ToolError>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let struck = match self.timer.struck() {
            Some(struck) => struck,
            None => {
                // The call before its limit: an answer that is ready when the limit strikes counts.
                if let Poll::Ready(answer) = self.as_mut().project().inner.poll(cx) {
                    return Poll::Ready(answer);
                }
                let struck = ready!(self.as_mut().poll_limit(cx));
                let mut this = self.as_mut().project();
                let Some((part, watch)) = this.inner.as_mut().watch() else {
                    return Poll::Pending;
                };
                let Some(end) = watch.limits.grace(struck) else {
                    let timeout = struck.error(part.context());
                    return Poll::Ready(Err(this.inner.fail(timeout)));
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
    pub(super) const fn new(limits: Limited) -> Self {
        Self { limits }
    }

    /// The limit strikes, if it has come: what is further in is told.
    fn strike(&mut self, part: &Part) -> Option<Bound> {
        let bound = self.limits.struck(Moment::now)?;
        let context = part.context();
        let (limit, waited) = (bound.limit(), context.elapsed());
        tracing::debug!(tool = context.tool(), call_id = %context.id(), scope = %bound.scope(), ?limit, ?waited, "timed out");
        part.cancel(CancelReason::Timeout);
        Some(bound)
    }

    /// The error of a streamed answer, if the limit has come. It strikes once.
    fn cut(&mut self, part: &Part) -> Option<ToolError> {
        let bound = self.strike(part)?;
        self.limits = Limited::default();
        Some(bound.error(part.context()))
    }
}

impl LayerWatch for ResponseWatch {
    fn poll_interrupt(&mut self, part: &Part, _: &mut Context<'_>) -> Poll<ToolError> {
        match self.cut(part) {
            Some(timeout) => Poll::Ready(timeout),
            None => Poll::Pending,
        }
    }

    fn expires_at(&self, _: &Part) -> Option<Instant> {
        self.limits.look_at(Moment::now).map(Moment::instant)
    }

    fn on_item(&mut self, part: &Part, _: Item<'_>) -> ControlFlow<ToolError> {
        self.limits.item(Moment::now);
        match self.cut(part) {
            Some(timeout) => ControlFlow::Break(timeout),
            None => ControlFlow::Continue(()),
        }
    }
}
