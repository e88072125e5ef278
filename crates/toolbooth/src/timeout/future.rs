use std::fmt;
use std::ops::ControlFlow;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};
use toolbooth_core::{
    Bound, BoxError, EventKind, Item, LayerName, Moment, Part, ToolError, ToolResponse,
};
use tower_service::Service;

use super::limits::CallLimits;
use crate::middleware::{LayerFuture, LayerWatch, PartWatch};

pin_project! {
    /// The future of [`Timeout`](super::Timeout).
    #[must_use = "dropping it ends the call"]
    pub struct ResponseFuture<S, R>
    where
        S: Service<R>,
    {
        #[pin]
        inner: LayerFuture<S, R, ResponseWatch>,
        // From the first poll in which the call is pending, if it has a limit.
        #[pin]
        sleep: Option<Sleep>,
    }
}

/// Ends a streaming response when a limit expires.
#[derive(Debug)]
pub struct ResponseWatch {
    limits: CallLimits,
    name: LayerName,
}

// === impl ResponseFuture ===

impl<S: Service<R>, R> ResponseFuture<S, R> {
    #[inline(always)]
    pub(super) const fn new(inner: LayerFuture<S, R, ResponseWatch>) -> Self {
        Self { inner, sleep: None }
    }

    /// Polls for the limit that expires. It cancels the call's context.
    fn poll_limit(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Bound> {
        let mut this = self.project();
        let Some((part, watch)) = this.inner.watch() else {
            return Poll::Pending;
        };
        if this.sleep.is_none() {
            let Some(at) = watch.limits.next_check(Moment::now) else {
                return Poll::Pending;
            };
            this.sleep.set(Some(sleep_until(at.instant())));
        }
        loop {
            ready!(poll_timer(this.sleep.as_mut(), cx));
            let now = Moment::now();
            match watch.limits.next_check(|| now) {
                None => return Poll::Pending,
                // Progress has moved the limit since the timer was set.
                Some(at) if at > now => this.sleep.set(Some(sleep_until(at.instant()))),
                Some(_) => {
                    if let Some(expired) = watch.expire(part, || now) {
                        return Poll::Ready(expired);
                    }
                }
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
    /// Polls the cancelled call until it ends by itself or the grace period is over.
    fn poll_grace(self: Pin<&mut Self>, expired: Bound, cx: &mut Context<'_>) -> Poll<ToolError> {
        let mut this = self.project();
        let late = match this.inner.as_mut().poll_response(cx) {
            Poll::Ready(late) => Some(late.map(ToolResponse::into_contents)),
            Poll::Pending => None,
        };
        let Some((part, watch)) = this.inner.as_mut().watch() else {
            return Poll::Pending;
        };
        if late.is_none() && part.poll_cancelled(cx).is_pending() {
            ready!(poll_timer(this.sleep, cx));
        }
        let timeout = watch.error(part, expired);
        let timeout = match late {
            None => timeout,
            Some(Ok(contents)) => {
                if !contents.is_empty() {
                    part.keep_late(contents);
                }
                timeout
            }
            // The tool only reports that it was cancelled.
            Some(Err(ToolError::Cancelled { .. })) => timeout,
            Some(Err(error)) => timeout.with_source(error),
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
        let mut this = self.as_mut().project();
        let watched = this.inner.as_mut().watch();
        if let Some(expired) = watched.and_then(|(_, watch)| watch.limits.in_grace()) {
            return self.poll_grace(expired, cx).map(Err);
        }
        // The call is polled before its limit: a response that is ready at the limit counts.
        if let Poll::Ready(result) = this.inner.poll(cx) {
            return Poll::Ready(result);
        }
        let expired = ready!(self.as_mut().poll_limit(cx));

        let mut this = self.as_mut().project();
        let Some((part, watch)) = this.inner.as_mut().watch() else {
            return Poll::Pending;
        };
        let Some(end) = watch.limits.start_grace(expired) else {
            let timeout = watch.error(part, expired);
            // Drops the inner future.
            return Poll::Ready(Err(this.inner.fail(timeout)));
        };
        part.report(|| EventKind::Expired {
            layer: watch.name.clone(),
            limit: expired.limit(),
        });
        this.sleep.set(end.map(|end| sleep_until(end.instant())));
        self.poll_grace(expired, cx).map(Err)
    }
}

impl<S: Service<R>, R> fmt::Debug for ResponseFuture<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

fn poll_timer(sleep: Pin<&mut Option<Sleep>>, cx: &mut Context<'_>) -> Poll<()> {
    match sleep.as_pin_mut() {
        // Outside of the cooperative budget: a tool that never waits is pending only because it
        // has used up that budget, and its limit must expire all the same.
        Some(sleep) => pin!(unconstrained(sleep)).poll(cx),
        None => Poll::Pending,
    }
}

// === impl ResponseWatch ===

impl ResponseWatch {
    pub(super) const fn new(limits: CallLimits, name: LayerName) -> Self {
        Self { limits, name }
    }

    /// Cancels the call's context if a limit has expired, and returns the limit.
    fn expire(&mut self, part: &Part, now: impl FnOnce() -> Moment) -> Option<Bound> {
        let expired = self.limits.expired(now)?;
        let context = part.context();
        tracing::debug!(
            tool = context.tool(),
            call_id = %context.id(),
            layer = %self.name,
            scope = %expired.scope(),
            limit = ?expired.limit(),
            waited = ?context.elapsed(),
            "timed out"
        );
        part.expire(&self.name, expired);
        Some(expired)
    }

    /// Returns the error of a call that expires at this limit now.
    fn error(&self, part: &Part, expired: Bound) -> ToolError {
        expired.error(part.context()).with_layer(&self.name)
    }

    /// Returns the error of a streaming response whose limit has expired; once.
    fn expire_stream(&mut self, part: &Part) -> Option<ToolError> {
        let expired = self.expire(part, Moment::now)?;
        self.limits = CallLimits::default();
        Some(self.error(part, expired))
    }
}

impl LayerWatch for ResponseWatch {
    fn poll_interrupt(&mut self, part: &Part, _: &mut Context<'_>) -> Poll<ToolError> {
        match self.expire_stream(part) {
            Some(timeout) => Poll::Ready(timeout),
            None => Poll::Pending,
        }
    }

    fn expires_at(&self, _: &Part) -> Option<Instant> {
        self.limits.next_check(Moment::now).map(Moment::instant)
    }

    fn on_item(&mut self, part: &Part, _: Item<'_>) -> ControlFlow<ToolError> {
        self.limits.record_item(Moment::now);
        match self.expire_stream(part) {
            Some(timeout) => ControlFlow::Break(timeout),
            None => ControlFlow::Continue(()),
        }
    }

    /// Names the layer in the error of a limit inside whose queue the call waited too long.
    fn on_error(&self, error: &mut ToolError) {
        let is_own = match error {
            ToolError::Timeout { scope, limit, .. } => self.limits.is_total(*scope, *limit),
            _ => false,
        };
        if is_own && error.queue().is_some() {
            error.set_layer(&self.name);
        }
    }
}
