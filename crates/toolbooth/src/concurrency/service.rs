use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use toolbooth_core::{BoxError, OverloadReason, ToolError, ToolRequest, ToolResponse};
use tower_service::Service;

use super::future::{Admission, ResponseFuture, ResponseWatch};
use super::permits::Permits;
use crate::line::{Line, Place, Refusal, trace_refusal};
use crate::shell::{Guarded, not_to_start};

/// A tool of which so many calls run at once. Made by [`ConcurrencyLimitLayer`](super::ConcurrencyLimitLayer).
#[derive(Debug, Clone)]
pub struct ConcurrencyLimit<S> {
    inner: S,
    line: Option<Arc<Line<Permits>>>,
}

// === impl ConcurrencyLimit ===

impl<S> ConcurrencyLimit<S> {
    pub(super) const fn new(inner: S, line: Option<Arc<Line<Permits>>>) -> Self {
        Self { inner, line }
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
}

impl<S, R> Service<R> for ConcurrencyLimit<S>
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
        let part = request.context().enter();
        let Some(line) = &self.line else {
            let watch = ResponseWatch::waiting(part);
            return ResponseFuture::new(Guarded::start(&mut self.inner, request, watch));
        };
        if let Some(refusal) = not_to_start(&part) {
            return ResponseFuture::new(Guarded::refuse(refusal, ResponseWatch::waiting(part)));
        }
        if part.context().inherits(line) {
            let watch = ResponseWatch::waiting(part);
            return ResponseFuture::new(Guarded::start(&mut self.inner, request, watch));
        }
        if line.try_admit(|| part.now()) {
            let watch = ResponseWatch::admitted(part, line);
            return ResponseFuture::new(Guarded::start(&mut self.inner, request, watch));
        }
        if line.rule().limit() == 0 {
            let context = part.context();
            trace_refusal("concurrency", context, &Refusal::Full(0), Duration::ZERO);
            let refusal = ToolError::overloaded(OverloadReason::Closed);
            return ResponseFuture::new(Guarded::refuse(refusal, ResponseWatch::waiting(part)));
        }
        let admission = Admission::new(Place::new(Arc::clone(line), part.now()));
        let watch = ResponseWatch::waiting(part);
        ResponseFuture::new(Guarded::wait(&self.inner, request, watch, admission))
    }
}
