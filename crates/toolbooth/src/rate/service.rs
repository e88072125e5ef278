use std::task::{Context, Poll};
use std::time::Duration;

use toolbooth_core::{BoxError, Part, ToolError, ToolRequest, ToolResponse};
use tower_service::Service;

use super::future::{AcquireToken, ResponseFuture, ResponseWatch};
use super::gcra::Gcra;
use crate::middleware::{Decision, LayerFuture, PartWatch, inner_accessors, not_to_start};
use crate::queue::{Limits, Needs, Place, Rejection, Rule, trace_rejection};

/// A tool of which so many calls start in a time. Made by [`RateLimitLayer`](super::RateLimitLayer).
#[derive(Debug, Clone)]
pub struct RateLimit<S> {
    inner: S,
    limits: Option<Limits<Gcra>>,
    reject: bool,
}

// === impl RateLimit ===

inner_accessors!(RateLimit);

impl<S> RateLimit<S> {
    pub(super) const fn new(inner: S, limits: Option<Limits<Gcra>>, reject: bool) -> Self {
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
        LayerFuture::new(inner, request, |part| {
            decide(limits.as_ref(), *reject, part)
        })
    }
}

/// Decides whether the call starts, waits or is rejected.
fn decide(
    limits: Option<&Limits<Gcra>>,
    reject: bool,
    part: &Part,
) -> Decision<ResponseWatch, AcquireToken> {
    let Some(limits) = limits else {
        return Decision::Start(ResponseWatch::new());
    };
    if let Some(error) = not_to_start(part) {
        return Decision::Reject(ResponseWatch::new(), error);
    }
    let Needs { line, cost } = match limits.find(part) {
        Ok(Some(needs)) => needs,
        Ok(None) => return Decision::Start(ResponseWatch::new()),
        Err(rejection) => return refused(part, rejection),
    };
    if line.try_admit(cost, || part.now()) {
        return Decision::Start(ResponseWatch::new());
    }
    let now = part.now();
    if reject {
        let rejection = match line.due(cost, now) {
            Some(due) => Rejection::TooLate(due.since(now)),
            None => Rejection::TooHeavy(cost, line.rule().capacity()),
        };
        return refused(part, rejection);
    }
    let place = Place::new(line.into_owned(), cost, now);
    Decision::Wait(ResponseWatch::new(), AcquireToken::new(place))
}

#[cold]
fn refused(part: &Part, refusal: Rejection) -> Decision<ResponseWatch, AcquireToken> {
    trace_rejection("rate", part.context(), &refusal, Duration::ZERO);
    let error = match refusal {
        Rejection::TooLate(after) => ToolError::rate_limited(after),
        refusal => refusal.error(part.context()),
    };
    Decision::Reject(ResponseWatch::new(), error)
}
