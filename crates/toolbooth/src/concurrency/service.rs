use std::task::{Context, Poll};
use std::time::Duration;

use toolbooth_core::{BoxError, Part, ToolError, ToolRequest, ToolResponse};
use tower_service::Service;

use super::future::{Admission, ResponseFuture, ResponseWatch};
use super::permits::Permits;
use crate::middleware::{Decision, Guarded, not_to_start};
use crate::queue::{Limits, Needs, Place, Rejection, trace_rejection};

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

    /// Decides whether the call starts, waits or is rejected.
    fn decide(&self, part: Part) -> Decision<ResponseWatch, Admission> {
        let Some(limits) = &self.limits else {
            return Decision::Start(ResponseWatch::waiting(part));
        };
        if let Some(refusal) = not_to_start(&part) {
            return Decision::Reject(ResponseWatch::waiting(part), refusal);
        }
        let (part, needs) = limits.find(part);
        let Needs { line, cost } = match needs {
            Ok(Some(needs)) => needs,
            Ok(None) => return Decision::Start(ResponseWatch::waiting(part)),
            Err(refusal) => return refused(part, refusal),
        };
        if part.inherits(&line) {
            return Decision::Start(ResponseWatch::waiting(part));
        }
        if line.try_admit(cost, || part.now()) {
            return Decision::Start(ResponseWatch::admitted(part, &line, cost));
        }
        if line.rule().is_closed() {
            return refused(part, Rejection::Closed);
        }
        let place = Place::new(line.into_owned(), cost, part.now());
        Decision::Wait(ResponseWatch::waiting(part), Admission::new(place))
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
fn refused(part: Part, refusal: Rejection) -> Decision<ResponseWatch, Admission> {
    trace_rejection("concurrency", part.context(), &refusal, Duration::ZERO);
    let error = refusal.error(part.context());
    Decision::Reject(ResponseWatch::waiting(part), error)
}
