use std::sync::Arc;
use std::task::{Context, Poll};

use toolbooth_core::{BoxError, ToolError, ToolRequest, ToolResponse};
use tower_service::Service;

use super::SharedState;
use crate::middleware::{Decision, LayerFuture, LayerWatch, PartWatch, inner_accessors};

/// Provides a state to the calls of the inner service. Made by [`StateLayer`](super::StateLayer).
#[derive(Debug, Clone)]
pub struct ProvideState<S> {
    inner: S,
    state: Option<Arc<SharedState>>,
}

/// The future of [`ProvideState`].
pub type ResponseFuture<S, R> = LayerFuture<S, R, ResponseWatch>;

/// Observes nothing: the call owns what the layer provides.
#[derive(Debug)]
pub struct ResponseWatch(());

// === impl ProvideState ===

inner_accessors!(ProvideState);

impl<S> ProvideState<S> {
    pub(super) const fn new(inner: S, state: Option<Arc<SharedState>>) -> Self {
        Self { inner, state }
    }
}

impl<S, R> Service<R> for ProvideState<S>
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

    fn call(&mut self, request: R) -> Self::Future {
        let Self { inner, state } = self;
        LayerFuture::new(inner, request, |part| {
            if let Some(state) = state {
                part.provide(state);
            }
            Decision::Start(ResponseWatch(()))
        })
    }
}

impl LayerWatch for ResponseWatch {}
