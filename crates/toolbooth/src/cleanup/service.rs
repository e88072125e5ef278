use std::task::{Context, Poll};

use toolbooth_core::{BoxError, CancelReason, Part, ToolError, ToolRequest, ToolResponse};
use tower_service::Service;

use super::CleanupLayer;
use super::future::{ResponseFuture, ResponseWatch};
use crate::middleware::Guarded;

/// A tool whose cleanup hooks are run. Made by [`CleanupLayer`].
#[derive(Debug, Clone)]
pub struct Cleanup<S> {
    inner: S,
    layer: CleanupLayer,
}

// === impl Cleanup ===

impl<S> Cleanup<S> {
    pub(super) const fn new(inner: S, layer: CleanupLayer) -> Self {
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
}

impl<S, R> Service<R> for Cleanup<S>
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
        let part = Part::enter(request.context());
        if let Some(runner) = &self.layer.runner {
            part.run_hooks_with(runner);
        }
        let runner = self.layer.runner_of_call();
        let waits_for = self.layer.wait.and_then(|_| runner.clone());
        let watch = ResponseWatch::new(part, runner);
        let guarded = match self.layer.is_closed() {
            true => Guarded::reject(ToolError::cancelled(CancelReason::Shutdown), watch),
            false => Guarded::start_unless_cut(&mut self.inner, request, watch),
        };
        ResponseFuture::new(guarded, waits_for)
    }
}
