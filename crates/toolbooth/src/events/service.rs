use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use toolbooth_core::{BoxError, ToolError, ToolRequest, ToolResponse};
use tower_service::Service;

use super::future::{ResponseFuture, ResponseWatch};
use super::layer::Sinks;
use crate::middleware::{Decision, LayerFuture, PartWatch, inner_accessors};

/// Delivers the events of calls to the inner service. Made by
/// [`EventsLayer`](super::EventsLayer).
#[derive(Clone)]
pub struct Events<S> {
    inner: S,
    sinks: Sinks,
}

// === impl Events ===

inner_accessors!(Events);

impl<S> Events<S> {
    pub(super) const fn new(inner: S, sinks: Sinks) -> Self {
        Self { inner, sinks }
    }
}

impl<S, R> Service<R> for Events<S>
where
    R: ToolRequest,
    S: Service<R> + Clone,
    S::Response: ToolResponse,
    S::Error: Into<BoxError> + 'static,
{
    type Response = <S::Response as ToolResponse>::Watched<Option<PartWatch<ResponseWatch>>>;
    type Error = ToolError;
    type Future = ResponseFuture<S, R>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        Poll::Ready(Ok(()))
    }

    #[inline(always)]
    fn call(&mut self, request: R) -> Self::Future {
        let Some(sinks) = &self.sinks else {
            return ResponseFuture::new(LayerFuture::pass(&mut self.inner, request));
        };
        ResponseFuture::new(LayerFuture::new(&mut self.inner, request, |part| {
            for sink in &**sinks {
                part.observe(sink);
                part.report_to(&**sink, part.invoked());
            }
            Decision::Start(ResponseWatch::new(Arc::clone(sinks)))
        }))
    }
}

impl<S: fmt::Debug> fmt::Debug for Events<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("inner", &self.inner)
            .field("is_on", &self.sinks.is_some())
            .finish()
    }
}
