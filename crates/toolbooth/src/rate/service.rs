use std::task::{Context, Poll};
use std::time::Duration;

use toolbooth_core::{BoxError, Part, ToolError, ToolRequest, ToolResponse};
use tower_service::Service;

use super::future::{Acquire, ResponseFuture, ResponseWatch};
use super::gcra::Gcra;
use crate::middleware::{Decision, Guarded, not_to_start};
use crate::queue::{Demand, Limiter, Limits, Rejection, Waiter, trace_rejection};

/// A tool of which a limited number of calls start in a time.
///
/// Made by [`RateLimitLayer`](super::RateLimitLayer).
#[derive(Debug, Clone)]
pub struct RateLimit<S> {
    inner: S,
    limits: Limits<Gcra>,
    reject: bool,
}

// === impl RateLimit ===

impl<S> RateLimit<S> {
    pub(super) const fn new(inner: S, limits: Limits<Gcra>, reject: bool) -> Self {
        Self {
            inner,
            limits,
            reject,
        }
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
            return Decision::Start(ResponseWatch::new(part));
        }
        if let Some(error) = not_to_start(&part) {
            return Decision::Reject(ResponseWatch::new(part), error);
        }
        let (part, demand) = self.limits.demand(part);
        let Demand { queue, cost } = match demand {
            Ok(Some(demand)) => demand,
            Ok(None) => return Decision::Start(ResponseWatch::new(part)),
            Err(rejection) => return reject(part, rejection),
        };
        if queue.try_acquire(cost, || part.now()) {
            return Decision::Start(ResponseWatch::new(part));
        }
        let now = part.now();
        if self.reject {
            let rejection = match queue.due(cost, now) {
                Some(due) => Rejection::TooLate(due.since(now)),
                None => Rejection::TooHeavy(cost, queue.limiter().capacity()),
            };
            return reject(part, rejection);
        }
        let waiter = Waiter::new(queue.into_owned(), cost, now);
        Decision::Wait(ResponseWatch::new(part), Acquire::new(waiter))
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

    #[inline(always)]
    fn call(&mut self, mut request: R) -> Self::Future {
        let decision = self.decide(Part::enter(request.context()));
        ResponseFuture::new(Guarded::enter(&mut self.inner, request, decision))
    }
}

#[cold]
fn reject(part: Part, rejection: Rejection) -> Decision<ResponseWatch, Acquire> {
    trace_rejection("rate", part.context(), &rejection, Duration::ZERO);
    let error = match rejection {
        Rejection::TooLate(after) => ToolError::rate_limited(after),
        rejection => rejection.error(part.context()),
    };
    Decision::Reject(ResponseWatch::new(part), error)
}
