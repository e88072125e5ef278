use std::sync::Arc;
use std::task::{Context, Poll};

use toolbooth_core::{BoxError, LayerName, Part, ToolError, ToolRequest, ToolResponse};
use tower_service::Service;

use super::future::{ResponseFuture, ResponseWatch};
use super::layer::CircuitBreakerLayer;
use super::rule::Rejected;
use super::shared::Breaker;
use crate::middleware::{Decision, LayerFuture, PartWatch, inner_accessors, not_to_start};

/// Middleware that rejects calls while the breaker is open. Made by [`CircuitBreakerLayer`].
#[derive(Debug, Clone)]
pub struct CircuitBreaker<S> {
    inner: S,
    layer: CircuitBreakerLayer,
}

// === impl CircuitBreaker ===

inner_accessors!(CircuitBreaker);

impl<S> CircuitBreaker<S> {
    pub(super) const fn new(inner: S, layer: CircuitBreakerLayer) -> Self {
        Self { inner, layer }
    }
}

impl<S, R> Service<R> for CircuitBreaker<S>
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
        LayerFuture::with_request(inner, request, |part, request| decide(layer, part, request))
    }
}

fn decide(
    layer: &CircuitBreakerLayer,
    part: &Part,
    request: &impl ToolRequest,
) -> Decision<ResponseWatch> {
    let found = layer.find(part, request);
    let found = found.map_err(|error| error.with_layer(&layer.name));
    let watch = found.and_then(|breaker| match breaker {
        Some(breaker) => admit(breaker, part, &layer.name),
        None => Ok(ResponseWatch::uncounted()),
    });
    match watch {
        Ok(watch) => Decision::Start(watch),
        Err(error) => Decision::Reject(ResponseWatch::uncounted(), error),
    }
}

/// Admits a call or rejects it.
fn admit(
    breaker: Arc<Breaker>,
    part: &Part,
    layer: &LayerName,
) -> Result<ResponseWatch, ToolError> {
    // Checked first, so that an expired call is no probe.
    if let Some(error) = not_to_start(part, layer) {
        return Err(error);
    }
    match breaker.admit(part) {
        Ok(Some((generation, is_probe))) => {
            Ok(ResponseWatch::admitted(part, breaker, generation, is_probe))
        }
        Ok(None) => Ok(ResponseWatch::uncounted()),
        Err(Rejected { retry_after }) => {
            let context = part.context();
            tracing::debug!(
                tool = context.tool(),
                call_id = %context.id(),
                %layer,
                ?retry_after,
                "rejected: the circuit is open"
            );
            Err(ToolError::circuit_open(retry_after).with_layer(layer))
        }
    }
}
