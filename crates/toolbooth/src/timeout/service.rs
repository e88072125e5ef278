use std::sync::Arc;
use std::task::{Context, Poll};

use toolbooth_core::{BoxError, Part, ToolError, ToolRequest, ToolResponse};
use tower_service::Service;

use super::future::{ResponseFuture, ResponseWatch};
use super::limits::{Limited, Limits};
use crate::middleware::{Decision, Guarded, Never, not_to_start};

/// A tool whose calls are cut when they take too long. Made by [`TimeoutLayer`](super::TimeoutLayer).
#[derive(Debug, Clone)]
pub struct Timeout<S> {
    inner: S,
    limits: Arc<Limits>,
}

// === impl Timeout ===

impl<S> Timeout<S> {
    pub(super) const fn new(inner: S, limits: Arc<Limits>) -> Self {
        Self { inner, limits }
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

    /// Decides whether the call starts, waits or is rejected.
    fn decide(&self, part: Part) -> Decision<ResponseWatch, Never> {
        let limits = self.limits.of(&part);
        match not_to_start(&part) {
            None => Decision::Start(ResponseWatch::new(part, limits)),
            Some(refusal) => {
                Decision::Reject(ResponseWatch::new(part, Limited::default()), refusal)
            }
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
    type Response = <S::Response as ToolResponse>::Watched<ResponseWatch>;
    type Error = ToolError;
    type Future = ResponseFuture<S, R>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        Poll::Ready(Ok(()))
    }

    #[inline(always)]
    fn call(&mut self, mut request: R) -> Self::Future {
        let decision = self.decide(Part::enter(request.context()));
        ResponseFuture::new(Guarded::enter(&mut self.inner, request, decision))
    }
}
