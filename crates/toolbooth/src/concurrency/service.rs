use std::task::{Context, Poll};
use std::time::Duration;

use toolbooth_core::{BoxError, Part, ToolError, ToolRequest, ToolResponse};
use tower_service::Service;

use super::future::{ResponseFuture, ResponseWatch};
use super::permits::{AcquirePermit, Claim, Permit, Permits};
use crate::middleware::{LayerFuture, PartWatch, Slot, Verdict, inner_accessors, not_to_start};
use crate::queue::{Demand, Limits, Rejection, trace_rejection};

/// A tool of which a limited number of calls run at once.
///
/// Made by [`ConcurrencyLimitLayer`](super::ConcurrencyLimitLayer).
#[derive(Clone)]
pub struct ConcurrencyLimit<S> {
    pub(super) inner: S,
    pub(super) limits: Limits<Permits>,
    until_ended: bool,
}

// === impl ConcurrencyLimit ===

inner_accessors!(ConcurrencyLimit);

impl<S> ConcurrencyLimit<S> {
    pub(super) const fn new(inner: S, limits: Limits<Permits>, until_ended: bool) -> Self {
        Self {
            inner,
            limits,
            until_ended,
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
            until_ended,
        } = self;
        LayerFuture::enter(
            inner,
            request,
            |part, request, slot| decide(limits, *until_ended, part, request, slot),
            |_, _| (),
        )
    }
}

/// Decides whether the call starts, waits or is rejected.
fn decide(
    limits: &Limits<Permits>,
    until_ended: bool,
    part: &Part,
    request: &impl ToolRequest,
    slot: Slot<'_, ResponseWatch>,
) -> Verdict<AcquirePermit> {
    let without_permit = ResponseWatch::new(None);
    if limits.is_unlimited() {
        return slot.start(without_permit);
    }
    if let Some(error) = not_to_start(part, &limits.name) {
        return slot.reject(without_permit, error);
    }
    let Demand { queue, cost } = match limits.demand(part, request) {
        Ok(Some(demand)) => demand,
        Ok(None) => return slot.start(without_permit),
        Err(rejection) => return reject(limits, part, rejection, slot),
    };
    if part.inherits(queue.id()) {
        return slot.start(without_permit);
    }
    let claim = Claim {
        queue,
        cost,
        until_ended,
        layer: &limits.name,
    };
    match Permit::try_acquire(part, claim) {
        Ok(permit) => slot.start(ResponseWatch::new(Some(permit))),
        Err(acquire) if acquire.is_closed() => reject(limits, part, Rejection::Closed, slot),
        Err(acquire) => slot.wait(without_permit, acquire),
    }
}

#[cold]
fn reject(
    limits: &Limits<Permits>,
    part: &Part,
    rejection: Rejection,
    slot: Slot<'_, ResponseWatch>,
) -> Verdict<AcquirePermit> {
    trace_rejection(&limits.name, part.context(), &rejection, Duration::ZERO);
    let error = rejection.error(part.context(), &limits.name);
    slot.reject(ResponseWatch::new(None), error)
}
