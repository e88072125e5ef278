use std::task::{Context, Poll};
use std::time::Duration;

use toolbooth_core::{BoxError, Part, ToolError, ToolRequest, ToolResponse};
use tower_service::Service;

use super::future::{ResponseFuture, ResponseWatch};
use super::permits::{Acquire, Permit, Permits};
use crate::middleware::{Decision, Guarded, not_to_start};
use crate::queue::{Demand, Limits, Rejection, trace_rejection};

/// A tool of which a limited number of calls run at once.
///
/// Made by [`ConcurrencyLimitLayer`](super::ConcurrencyLimitLayer).
#[derive(Debug, Clone)]
pub struct ConcurrencyLimit<S> {
    inner: S,
    limits: Limits<Permits>,
}

// === impl ConcurrencyLimit ===

impl<S> ConcurrencyLimit<S> {
    pub(super) const fn new(inner: S, limits: Limits<Permits>) -> Self {
        Self { inner, limits }
    }

    /// Returns the inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns the inner service, to change it.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service by value.
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// Decides whether the call starts, waits or is rejected.
    fn decide(&self, part: Part) -> Decision<ResponseWatch, Acquire> {
        if self.limits.is_unlimited() {
            return Decision::Start(ResponseWatch::new(part, None));
        }
        if let Some(error) = not_to_start(&part) {
            return Decision::Reject(ResponseWatch::new(part, None), error);
        }
        let (part, demand) = self.limits.demand(part);
        let Demand { queue, cost } = match demand {
            Ok(Some(demand)) => demand,
            Ok(None) => return Decision::Start(ResponseWatch::new(part, None)),
            Err(rejection) => return reject(part, rejection),
        };
        if part.inherits(&queue) {
            return Decision::Start(ResponseWatch::new(part, None));
        }
        match Permit::try_acquire(&part, queue, cost) {
            Ok(permit) => Decision::Start(ResponseWatch::new(part, Some(permit))),
            Err(acquire) if acquire.is_closed() => reject(part, Rejection::Closed),
            Err(acquire) => Decision::Wait(ResponseWatch::new(part, None), acquire),
        }
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

    #[inline(always)]
    fn call(&mut self, mut request: R) -> Self::Future {
        let decision = self.decide(Part::enter(request.context()));
        ResponseFuture::new(Guarded::enter(&mut self.inner, request, decision))
    }
}

#[cold]
fn reject(part: Part, rejection: Rejection) -> Decision<ResponseWatch, Acquire> {
    trace_rejection("concurrency", part.context(), &rejection, Duration::ZERO);
    let error = rejection.error(part.context());
    Decision::Reject(ResponseWatch::new(part, None), error)
}
