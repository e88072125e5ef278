use std::ops::ControlFlow;
use std::task::{Context, Poll};

use toolbooth_core::{BoxError, Item, KeepPolicy, Part, ToolError, ToolRequest, ToolResponse};
use tower_service::Service;

use crate::middleware::{Decision, LayerFuture, LayerWatch, PartWatch, inner_accessors};

/// Keeps the partial results of calls to the inner service. Made by
/// [`PartialResultLayer`](super::PartialResultLayer).
#[derive(Debug, Clone)]
pub struct PartialResult<S> {
    inner: S,
    policy: Option<KeepPolicy>,
}

/// The future of [`PartialResult`].
pub type ResponseFuture<S, R> = LayerFuture<S, R, ResponseWatch>;

/// Keeps the items of a streaming response.
#[derive(Debug)]
pub struct ResponseWatch(());

// === impl PartialResult ===

inner_accessors!(PartialResult);

impl<S> PartialResult<S> {
    pub(super) const fn new(inner: S, policy: Option<KeepPolicy>) -> Self {
        Self { inner, policy }
    }
}

impl<S, R> Service<R> for PartialResult<S>
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
        let policy = self.policy;
        LayerFuture::new(&mut self.inner, request, |part| {
            if let Some(policy) = policy {
                part.keep(policy);
            }
            Decision::Start(ResponseWatch(()))
        })
    }
}

// === impl ResponseWatch ===

impl LayerWatch for ResponseWatch {
    fn on_item(&mut self, part: &Part, item: Item<'_>) -> ControlFlow<ToolError> {
        part.keep_streamed(item);
        ControlFlow::Continue(())
    }
}
