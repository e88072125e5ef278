use std::task::{Context, Poll};

use toolbooth_core::{BoxError, Part, ToolError, ToolRequest, ToolResponse};
use tower_service::Service;

use super::future::{ResponseFuture, ResponseWatch};
use super::layer::CircuitBreakerLayer;
use super::rule::Refused;
use super::shared::Breaker;
use crate::shell::{Guarded, not_to_start};

/// A tool that is not called while it fails. Made by [`CircuitBreakerLayer`].
#[derive(Debug, Clone)]
pub struct CircuitBreaker<S> {
    inner: S,
    layer: CircuitBreakerLayer,
}

// === impl CircuitBreaker ===

impl<S> CircuitBreaker<S> {
    pub(super) const fn new(inner: S, layer: CircuitBreakerLayer) -> Self {
        Self { inner, layer }
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

    /// Every call but the usual one.
    #[cold]
    fn entry(&self, part: Part) -> Result<ResponseWatch, (Part, ToolError)> {
        let (part, breaker) = self.layer.find(part);
        match breaker {
            Ok(None) => Ok(ResponseWatch::uncounted(part)),
            Ok(Some(breaker)) => match admit(&breaker, &part) {
                Ok(generation) => Ok(ResponseWatch::admitted(part, &breaker, generation)),
                Err(refusal) => Err((part, refusal)),
            },
            Err(refusal) => Err((part, refusal)),
        }
    }
}

impl<S, R> Service<R> for CircuitBreaker<S>
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
        let part = request.context().enter();
        if let Some((breaker, generation)) = self.layer.pass(&part) {
            let watch = ResponseWatch::admitted(part, breaker, generation);
            return ResponseFuture::new(Guarded::start(&mut self.inner, request, watch));
        }
        ResponseFuture::new(match self.entry(part) {
            Ok(watch) => Guarded::start_unless_cut(&mut self.inner, request, watch),
            Err((part, refusal)) => Guarded::refuse(refusal, ResponseWatch::uncounted(part)),
        })
    }
}

/// Has the breaker let a call through, in that generation; or the refusal.
fn admit(breaker: &Breaker, part: &Part) -> Result<u64, ToolError> {
    // First of all: such a call is no probe.
    if let Some(refusal) = not_to_start(part) {
        return Err(refusal);
    }
    match breaker.admit(|| part.now()) {
        Ok(generation) => Ok(generation),
        Err(Refused { retry_after }) => {
            let context = part.context();
            tracing::debug!(tool = context.tool(), call_id = %context.id(), ?retry_after, "refused: the circuit is open");
            Err(ToolError::circuit_open(retry_after))
        }
    }
}
