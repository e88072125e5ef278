use std::sync::Arc;
use std::task::{Context, Poll};

use toolbooth_core::{BoxError, OverloadReason, Part, ToolError, ToolRequest, ToolResponse};
use tower_service::Service;

use super::CleanupLayer;
use super::future::{ResponseFuture, ResponseWatch};
use super::runner::Runner;
use crate::middleware::{Decision, LayerFuture, PartWatch, inner_accessors};

/// Runs the cleanup hooks of calls to the inner service. Made by [`CleanupLayer`].
#[derive(Debug, Clone)]
pub struct Cleanup<S> {
    inner: S,
    layer: CleanupLayer,
}

// === impl Cleanup ===

inner_accessors!(Cleanup);

impl<S> Cleanup<S> {
    pub(super) const fn new(inner: S, layer: CleanupLayer) -> Self {
        Self { inner, layer }
    }
}

impl<S, R> Service<R> for Cleanup<S>
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
        let runner = layer.runner_of_call();
        let waits_for = layer.wait.and_then(|_| runner.clone());
        let inner = LayerFuture::new(inner, request, |part| {
            let watch = ResponseWatch::new(runner);
            match &layer.runner {
                Some(runner) => decide(layer, runner, part, watch),
                None => Decision::Start(watch),
            }
        });
        ResponseFuture::new(inner, waits_for)
    }
}

#[inline]
fn decide(
    layer: &CleanupLayer,
    runner: &Arc<Runner>,
    part: &Part,
    watch: ResponseWatch,
) -> Decision<ResponseWatch> {
    part.run_hooks_with(runner);
    if runner.is_closed() && !part.inherits(runner.id()) {
        let reason = OverloadReason::shutting_down(layer.retry_after);
        return Decision::Reject(watch, ToolError::overloaded(reason).with_layer(&layer.name));
    }
    // Calls that it makes are admitted after a close.
    part.hold(runner.id());
    Decision::Start(watch)
}
