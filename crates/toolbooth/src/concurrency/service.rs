use std::task::{Context, Poll};
use std::time::Duration;

use toolbooth_core::{BoxError, Part, ToolError, ToolRequest, ToolResponse};
use tower_service::Service;

use super::future::{Admission, ResponseFuture, ResponseWatch};
use super::permits::Permits;
use crate::line::{Limits, Needs, Place, Refusal, trace_refusal};
use crate::shell::{Guarded, not_to_start};

/// A tool of which so many calls run at once. Made by [`ConcurrencyLimitLayer`](super::ConcurrencyLimitLayer).
#[derive(Debug, Clone)]
pub struct ConcurrencyLimit<S> {
    inner: S,
    limits: Option<Limits<Permits>>,
}

// === impl ConcurrencyLimit ===

impl<S> ConcurrencyLimit<S> {
    pub(super) const fn new(inner: S, limits: Option<Limits<Permits>>) -> Self {
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
        let Some(limits) = &self.limits else {
            let watch = ResponseWatch::waiting(part);
            return ResponseFuture::new(Guarded::start(&mut self.inner, request, watch));
        };
        if let Some(refusal) = not_to_start(&part) {
            return ResponseFuture::new(Guarded::refuse(refusal, ResponseWatch::waiting(part)));
        }
        let (part, needs) = limits.find(part);
        let Needs { line, cost } = match needs {
            Ok(Some(needs)) => needs,
            Ok(None) => {
                let watch = ResponseWatch::waiting(part);
                return ResponseFuture::new(Guarded::start(&mut self.inner, request, watch));
            }
            Err(refusal) => {
                let refusal = refused(&part, refusal);
                return ResponseFuture::new(Guarded::refuse(refusal, ResponseWatch::waiting(part)));
            }
        };
        if part.context().inherits(&line) {
            let watch = ResponseWatch::waiting(part);
            return ResponseFuture::new(Guarded::start(&mut self.inner, request, watch));
        }
        if line.try_admit(cost, || part.now()) {
            let watch = ResponseWatch::admitted(part, &line, cost);
            return ResponseFuture::new(Guarded::start(&mut self.inner, request, watch));
        }
        if line.rule().is_closed() {
            let refusal = refused(&part, Refusal::Closed);
            return ResponseFuture::new(Guarded::refuse(refusal, ResponseWatch::waiting(part)));
        }
        let admission = Admission::new(Place::new(line.into_owned(), cost, part.now()));
        let watch = ResponseWatch::waiting(part);
        ResponseFuture::new(Guarded::wait(&self.inner, request, watch, admission))
    }
}

#[cold]
fn refused(part: &Part, refusal: Refusal) -> ToolError {
    trace_refusal("concurrency", part.context(), &refusal, Duration::ZERO);
    refusal.error(part.context())
}
