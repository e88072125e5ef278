use std::sync::Arc;
use std::task::{Context, Poll};

use toolbooth_core::{BoxError, LayerName, Part, ToolError, ToolRequest, ToolResponse};
use tower_service::Service;

use super::future::{ResponseFuture, ResponseWatch};
use super::limits::{CallLimits, Settings};
use crate::middleware::{Decision, LayerFuture, PartWatch, inner_accessors, not_to_start};

/// Limits how long calls to the inner service may take. Made by
/// [`TimeoutLayer`](super::TimeoutLayer).
#[derive(Debug, Clone)]
pub struct Timeout<S> {
    inner: S,
    settings: Arc<Settings>,
    name: LayerName,
}

// === impl Timeout ===

inner_accessors!(Timeout);

impl<S> Timeout<S> {
    pub(super) const fn new(inner: S, settings: Arc<Settings>, name: LayerName) -> Self {
        Self {
            inner,
            settings,
            name,
        }
    }
}

impl<S, R> Service<R> for Timeout<S>
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
            settings,
            name,
        } = self;
        let inner = LayerFuture::new(inner, request, |part| decide(settings, name, part));
        ResponseFuture::new(inner)
    }
}

fn decide(settings: &Settings, name: &LayerName, part: &Part) -> Decision<ResponseWatch> {
    let limits = settings.enter(part);
    match not_to_start(part, name) {
        None => Decision::Start(ResponseWatch::new(limits, name.clone())),
        Some(error) => {
            let watch = ResponseWatch::new(CallLimits::default(), name.clone());
            Decision::Reject(watch, error)
        }
    }
}
