use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use toolbooth_core::{BoxError, ToolError, ToolRequest, ToolResponse};
use tower_service::Service;

use super::future::{Admission, ResponseFuture, ResponseWatch};
use super::gcra::Gcra;
use crate::line::{Line, Place, Refusal, Rule, trace_refusal};
use crate::shell::{Guarded, LayerWatch, past_deadline};

/// A tool of which so many calls start in a time. Made by [`RateLimitLayer`](super::RateLimitLayer).
#[derive(Debug, Clone)]
pub struct RateLimit<S> {
    inner: S,
    line: Option<Arc<Line<Gcra>>>,
    reject: bool,
}

// === impl RateLimit ===

impl<S> RateLimit<S> {
    pub(super) const fn new(inner: S, line: Option<Arc<Line<Gcra>>>, reject: bool) -> Self {
        Self {
            inner,
            line,
            reject,
        }
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

impl<S, R> Service<R> for RateLimit<S>
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
        let watch = ResponseWatch::new(context.enter());
        let Some(line) = &self.line else {
            return ResponseFuture::new(Guarded::start(&mut self.inner, request, watch));
        };
        if let Some(late) = past_deadline(watch.part()) {
            return ResponseFuture::new(Guarded::refuse(late, watch));
        }
        if line.try_admit(|| watch.part().now()) {
            return ResponseFuture::new(Guarded::start(&mut self.inner, request, watch));
        }
        if self.reject {
            let now = watch.part().now();
            let due = line.rule().due(line.queued()).unwrap_or(now);
            let retry_after = due.since(now);
            let context = watch.part().context();
            trace_refusal(
                "rate",
                context,
                &Refusal::TooLate(retry_after),
                Duration::ZERO,
            );
            return ResponseFuture::new(Guarded::refuse(
                ToolError::rate_limited(retry_after),
                watch,
            ));
        }
        let admission = Admission::new(Place::new(Arc::clone(line), watch.part().now()));
        ResponseFuture::new(Guarded::wait(&self.inner, request, watch, admission))
    }
}
