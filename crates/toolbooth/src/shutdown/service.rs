use std::sync::Arc;
use std::task::{Context, Poll};

use toolbooth_core::{BoxError, OverloadReason, Part, ToolError, ToolRequest, ToolResponse};
use tower_service::Service;

use super::ShutdownLayer;
use super::future::{Admission, ResponseFuture, ResponseWatch};
use super::shared::InFlight;
use crate::middleware::{Decision, LayerFuture, PartWatch, inner_accessors};

/// Rejects and cancels calls to the inner service at a shutdown. Made by [`ShutdownLayer`].
#[derive(Debug, Clone)]
pub struct Shutdown<S> {
    inner: S,
    layer: ShutdownLayer,
}

// === impl Shutdown ===

inner_accessors!(Shutdown);

impl<S> Shutdown<S> {
    pub(super) const fn new(inner: S, layer: ShutdownLayer) -> Self {
        Self { inner, layer }
    }
}

impl<S, R> Service<R> for Shutdown<S>
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
        let Self { inner, layer } = self;
        let inner = LayerFuture::new(inner, request, |part| decide(layer, part));
        ResponseFuture::new(inner)
    }
}

#[inline]
fn decide(layer: &ShutdownLayer, part: &Part) -> Decision<ResponseWatch> {
    let Some(shared) = &layer.shared else {
        return Decision::Start(ResponseWatch::new(Admission::Off));
    };
    part.run_hooks_with(shared);
    if part.inherits(shared.id) {
        let uncounted = Admission::Uncounted(Arc::clone(shared));
        return Decision::Start(ResponseWatch::new(uncounted));
    }
    match InFlight::enter(shared) {
        Some(call) => {
            part.hold_until_ended(shared.id);
            Decision::Start(ResponseWatch::new(Admission::Counted(call)))
        }
        None => {
            let uncounted = Admission::Uncounted(Arc::clone(shared));
            let reason = OverloadReason::shutting_down(layer.retry_after);
            let error = ToolError::overloaded(reason).with_layer(&layer.name);
            Decision::Reject(ResponseWatch::new(uncounted), error)
        }
    }
}
