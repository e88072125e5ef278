use std::task::{Context, Poll};
use std::time::Duration;

use toolbooth_core::{BoxError, Part, ToolError, ToolRequest, ToolResponse};
use tower_service::Service;

use super::future::{Admission, ResponseFuture, ResponseWatch};
use super::gcra::Gcra;
use crate::middleware::{Decision, Guarded, not_to_start};
use crate::queue::{Limits, Needs, Place, Rejection, Rule, trace_rejection};

/// A tool of which so many calls start in a time. Made by [`RateLimitLayer`](super::RateLimitLayer).
#[derive(Debug, Clone)]
pub struct RateLimit<S> {
    inner: S,
    limits: Option<Limits<Gcra>>,
    reject: bool,
}

// === impl RateLimit ===

impl<S> RateLimit<S> {
    pub(super) const fn new(inner: S, limits: Option<Limits<Gcra>>, reject: bool) -> Self {
        Self {
            inner,
            limits,
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

    /// Decides whether the call starts, waits or is rejected.
    fn decide(&self, part: Part) -> Decision<ResponseWatch, Admission> {
        let Some(limits) = &self.limits else {
            return Decision::Start(ResponseWatch::new(part));
        };
        if let Some(error) = not_to_start(&part) {
            return Decision::Reject(ResponseWatch::new(part), error);
        }
        let (part, needs) = limits.find(part);
        let Needs { line, cost } = match needs {
            Ok(Some(needs)) => needs,
            Ok(None) => return Decision::Start(ResponseWatch::new(part)),
            Err(rejection) => return refused(part, rejection),
        };
        if line.try_admit(cost, || part.now()) {
            return Decision::Start(ResponseWatch::new(part));
        }
        let now = part.now();
        if self.reject {
            let rejection = match line.due(cost, now) {
                Some(due) => Rejection::TooLate(due.since(now)),
                None => Rejection::TooHeavy(cost, line.rule().capacity()),
            };
            return refused(part, rejection);
        }
        let place = Place::new(line.into_owned(), cost, now);
        Decision::Wait(ResponseWatch::new(part), Admission::new(place))
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
fn refused(part: Part, refusal: Rejection) -> Decision<ResponseWatch, Admission> {
    trace_rejection("rate", part.context(), &refusal, Duration::ZERO);
    let error = match refusal {
        Rejection::TooLate(after) => ToolError::rate_limited(after),
        refusal => refusal.error(part.context()),
    };
    Decision::Reject(ResponseWatch::new(part), error)
}
