use std::task::{Context, Poll};
use std::time::Duration;

use toolbooth_core::{BoxError, Part, ToolError, ToolRequest, ToolResponse};
use tower_service::Service;

use super::future::{AcquireToken, ResponseFuture, ResponseWatch};
use super::gcra::Gcra;
use crate::middleware::{Decision, LayerFuture, PartWatch, inner_accessors, not_to_start};
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

inner_accessors!(RateLimit);

impl<S> RateLimit<S> {
    pub(super) const fn new(inner: S, limits: Limits<Gcra>, reject: bool) -> Self {
        Self {
            inner,
            limits,
            reject,
        }
    }
}

impl<S, R> Service<R> for RateLimit<S>
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
        let Self {
            inner,
            limits,
            reject,
        } = self;
        LayerFuture::new(inner, request, |part| decide(limits, *reject, part))
    }
}

/// Decides whether the call starts, waits or is rejected.
fn decide(
    limits: &Limits<Gcra>,
    reject_at_once: bool,
    part: &Part,
) -> Decision<ResponseWatch, AcquireToken> {
    if limits.is_unlimited() {
        return Decision::Start(ResponseWatch::new());
    }
    if let Some(error) = not_to_start(part) {
        return Decision::Reject(ResponseWatch::new(), error);
    }
    let Demand { queue, cost } = match limits.demand(part) {
        Ok(Some(demand)) => demand,
        Ok(None) => return Decision::Start(ResponseWatch::new()),
        Err(rejection) => return reject(part, rejection),
    };
    // A token is one for each attempt.
    if !part.count_once(queue.id()) {
        return Decision::Start(ResponseWatch::new());
    }
    if queue.try_acquire(cost, || part.now()) {
        return Decision::Start(ResponseWatch::new());
    }
    let now = part.now();
    if reject_at_once {
        let rejection = match queue.due(cost, now) {
            Some(due) => Rejection::TooLate(due.since(now)),
            None => Rejection::TooHeavy(cost, queue.limiter().capacity()),
        };
        return reject(part, rejection);
    }
    let waiter = Waiter::new(queue.into_owned(), cost, now);
    Decision::Wait(ResponseWatch::new(), AcquireToken::new(waiter))
}

#[cold]
fn reject(part: &Part, rejection: Rejection) -> Decision<ResponseWatch, AcquireToken> {
    trace_rejection("rate", part.context(), &rejection, Duration::ZERO);
    let error = match rejection {
        Rejection::TooLate(after) => ToolError::rate_limited(after),
        rejection => rejection.error(part.context()),
    };
    Decision::Reject(ResponseWatch::new(), error)
}
