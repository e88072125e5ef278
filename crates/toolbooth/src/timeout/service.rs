use std::sync::Arc;
use std::task::{Context, Poll};

use toolbooth_core::{BoxError, Part, ToolError, ToolRequest, ToolResponse};
use tower_service::Service;

use super::future::{ResponseFuture, ResponseWatch};
use super::limits::{Limited, Limits};
use crate::middleware::{Decision, LayerFuture, PartWatch, inner_accessors, not_to_start};

/// A tool whose calls are cut when they take too long. Made by [`TimeoutLayer`](super::TimeoutLayer).
#[derive(Debug, Clone)]
pub struct Timeout<S> {
    inner: S,
    limits: Arc<Limits>,
}

// === impl Timeout ===

inner_accessors!(Timeout);

impl<S> Timeout<S> {
    pub(super) const fn new(inner: S, limits: Arc<Limits>) -> Self {
        Self { inner, limits }
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
        let Self { inner, limits } = self;
        let inner = LayerFuture::new(inner, request, |part| decide(limits, part));
        ResponseFuture::new(inner)
    }
}

fn decide(limits: &Limits, part: &Part) -> Decision<ResponseWatch> {
    let limits = limits.of(part);
    match not_to_start(part) {
        None => Decision::Start(ResponseWatch::new(limits)),
        Some(error) => Decision::Reject(ResponseWatch::new(Limited::default()), error),
    }
}
