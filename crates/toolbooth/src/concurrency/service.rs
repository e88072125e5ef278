use std::task::{Context, Poll};
use std::time::Duration;

use toolbooth_core::{BoxError, Part, ToolError, ToolRequest, ToolResponse};
use tower_service::Service;

use super::future::{AcquirePermit, ResponseFuture, ResponseWatch};
use super::permits::Permits;
use crate::middleware::{Decision, LayerFuture, PartWatch, inner_accessors, not_to_start};
use crate::queue::{Limits, Needs, Place, Rejection, trace_rejection};

/// A tool of which so many calls run at once. Made by [`ConcurrencyLimitLayer`](super::ConcurrencyLimitLayer).
#[derive(Debug, Clone)]
pub struct ConcurrencyLimit<S> {
    inner: S,
    limits: Option<Limits<Permits>>,
}

// === impl ConcurrencyLimit ===

inner_accessors!(ConcurrencyLimit);

impl<S> ConcurrencyLimit<S> {
    pub(super) const fn new(inner: S, limits: Option<Limits<Permits>>) -> Self {
        Self { inner, limits }
    }
}

impl<S, R> Service<R> for ConcurrencyLimit<S>
where
    R: ToolRequest,
    S: Service<R> + Clone,
    S::Response: ToolResponse,
    S::Error: Into<BoxError> + 'static,
{
    type Response = <S::Response as ToolResponse>::Watched<PartWatch<ResponseWatch>>;
    type Error = ToolError;
    type Future = ResponseFuture<S, R>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        Poll::Ready(Ok(()))
    }

    #[inline(always)]
    fn call(&mut self, request: R) -> Self::Future {
        let limits = self.limits.as_ref();
        LayerFuture::new(&mut self.inner, request, |part| decide(limits, part))
    }
}

/// Decides whether the call starts, waits or is rejected.
fn decide(limits: Option<&Limits<Permits>>, part: &Part) -> Decision<ResponseWatch, AcquirePermit> {
    let Some(limits) = limits else {
        return Decision::Start(ResponseWatch::waiting());
    };
    if let Some(refusal) = not_to_start(part) {
        return Decision::Reject(ResponseWatch::waiting(), refusal);
    }
    let Needs { line, cost } = match limits.find(part) {
        Ok(Some(needs)) => needs,
        Ok(None) => return Decision::Start(ResponseWatch::waiting()),
        Err(refusal) => return refused(part, refusal),
    };
    if part.inherits(&line) {
        return Decision::Start(ResponseWatch::waiting());
    }
    if line.try_admit(cost, || part.now()) {
        return Decision::Start(ResponseWatch::admitted(part, &line, cost));
    }
    if line.rule().is_closed() {
        return refused(part, Rejection::Closed);
    }
    let place = Place::new(line.into_owned(), cost, part.now());
    Decision::Wait(ResponseWatch::waiting(), AcquirePermit::new(place))
}

#[cold]
fn refused(part: &Part, refusal: Rejection) -> Decision<ResponseWatch, AcquirePermit> {
    trace_rejection("concurrency", part.context(), &refusal, Duration::ZERO);
    let error = refusal.error(part.context());
    Decision::Reject(ResponseWatch::waiting(), error)
}
