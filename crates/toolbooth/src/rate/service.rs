use std::task::{Context, Poll};
use std::time::Duration;

use toolbooth_core::{BoxError, CallContext, Part, ToolError, ToolRequest, ToolResponse};
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

    /// Takes a token for the usual call, where there is one and nothing else to look at.
    #[inline(always)]
    fn admit(&self, context: &CallContext, part: Option<&Part>) -> bool {
        let line = self.limits.as_ref().and_then(Limits::only);
        let now = || part.map_or_else(|| context.now(), Part::now);
        line.is_some_and(|line| context.is_plain() && line.try_admit(1, now))
    }

    /// Every other call.
    #[cold]
    fn entry(
        &self,
        context: &CallContext,
        part: Option<Part>,
    ) -> Decision<ResponseWatch, Admission> {
        let Some(limits) = &self.limits else {
            return Decision::Start(ResponseWatch::new(part));
        };
        let (part, needs) = match part {
            None => (None, limits.find_for(context)),
            Some(part) => {
                let (part, needs) = limits.find(part);
                (Some(part), needs)
            }
        };
        let Needs { line, cost } = match needs {
            Ok(Some(needs)) => needs,
            Ok(None) => return Decision::Start(ResponseWatch::new(part)),
            Err(refusal) => return refused(part.unwrap_or_else(|| context.enter()), refusal),
        };
        let now = || part.as_ref().map_or_else(|| context.now(), Part::now);
        let cut = part.as_ref().and_then(Part::cut);
        if cut.is_none() && context.past_deadline(now).is_none() && line.try_admit(cost, now) {
            return Decision::Start(ResponseWatch::new(part));
        }
        let part = part.unwrap_or_else(|| context.enter());
        if let Some(refusal) = not_to_start(&part) {
            return Decision::Reject(ResponseWatch::new(Some(part)), refusal);
        }
        let now = part.now();
        if self.reject {
            let refusal = match line.due(cost, now) {
                Some(due) => Rejection::TooLate(due.since(now)),
                None => Rejection::TooHeavy(cost, line.rule().capacity()),
            };
            return refused(part, refusal);
        }
        let place = Place::new(line.into_owned(), cost, now);
        Decision::Wait(ResponseWatch::new(Some(part)), Admission::new(place))
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
        let context = request.context();
        // All that the layer needs is a token. Inside of another layer of ours, which follows the call to its end, it takes a
        // part of its own only to wait for one, or to refuse the call.
        let part = (!context.is_entered()).then(|| context.enter());
        if self.admit(context, part.as_ref()) {
            let watch = ResponseWatch::new(part);
            return ResponseFuture::new(Guarded::start(&mut self.inner, request, watch));
        }
        let entry = self.entry(context, part);
        ResponseFuture::new(Guarded::enter(&mut self.inner, request, entry))
    }
}

#[cold]
fn refused(part: Part, refusal: Rejection) -> Decision<ResponseWatch, Admission> {
    trace_rejection("rate", part.context(), &refusal, Duration::ZERO);
    let error = match refusal {
        Rejection::TooLate(after) => ToolError::rate_limited(after),
        refusal => refusal.error(part.context()),
    };
    Decision::Reject(ResponseWatch::new(Some(part)), error)
}
