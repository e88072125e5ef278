use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use toolbooth_core::{
    Bound, BoxError, CallContext, Moment, TimeoutScope, ToolError, ToolRequest, ToolResponse,
};
use tower_service::Service;

use super::future::{ResponseFuture, ResponseWatch};
use crate::shell::{Guarded, PerTool, not_to_start};

/// A tool whose calls are cut when they take too long. Made by [`TimeoutLayer`](super::TimeoutLayer).
#[derive(Debug, Clone)]
pub struct Timeout<S> {
    inner: S,
    limits: Arc<PerTool<Duration>>,
}

// === impl Timeout ===

impl<S> Timeout<S> {
    pub(super) const fn new(inner: S, limits: Arc<PerTool<Duration>>) -> Self {
        Self { inner, limits }
    }

    /// The tool inside.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The tool inside, to change.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The tool inside, by value.
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// The limit that this layer enforces on a call: its own where that comes first. What comes
    /// first otherwise is enforced by the layer that set it; the caller's deadline by the outermost timeout.
    fn bound(&self, context: &CallContext, now: Moment) -> Option<Bound> {
        let outermost = context.enter_timeout();
        let limit = match context.timeout() {
            Some(limit) if outermost => Some(limit),
            _ => self.limits.get(context.tool()).copied(),
        };
        let own = limit.and_then(|limit| {
            Some(Bound {
                at: now.after(limit)?,
                scope: TimeoutScope::Total,
                limit,
            })
        });
        match (own, context.bound()) {
            (Some(own), Some(around)) if own.at < around.at => Some(own),
            (_, Some(around)) => outermost.then_some(around),
            (own, None) => own,
        }
    }
}

impl<S, R> Service<R> for Timeout<S>
where
    R: ToolRequest,
    S: Service<R> + Clone,
    S::Response: ToolResponse,
    S::Error: Into<BoxError> + 'static,
{
    type Response = <S::Response as ToolResponse>::Watched<ResponseWatch>;
    type Error = ToolError;
    type Future = ResponseFuture<S, R>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: R) -> Self::Future {
        let context = request.context();
        let part = context.enter();
        let now = part.now();
        let bound = self.bound(context, now);
        if let Some(refusal) = not_to_start(&part) {
            return ResponseFuture::new(
                Guarded::refuse(refusal, ResponseWatch::new(part, None)),
                None,
            );
        }
        if let Some(bound) = bound {
            context.narrow(bound);
        }
        let watch = ResponseWatch::new(part, bound);
        ResponseFuture::new(Guarded::start(&mut self.inner, request, watch), bound)
    }
}
