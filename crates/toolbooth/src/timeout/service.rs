use std::sync::Arc;
use std::task::{Context, Poll};

use toolbooth_core::{BoxError, Part, ToolError, ToolRequest, ToolResponse};
use tower_service::Service;

use super::future::{ResponseFuture, ResponseWatch};
use super::limits::{Limited, Limits};
use crate::shell::{Guarded, not_to_start};

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

    /// What holds for a call of which more was said, or that has more limits.
    #[cold]
    fn look(&self, part: &Part) -> Result<Limited, ToolError> {
        let limits = self.limits.of(part.context(), part.now());
        not_to_start(part).map_or(Ok(limits), Err)
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
        let part = request.context().enter();
        let limits = match self.limits.only(&part) {
            Some(limit) => limit,
            None => match self.look(&part) {
                Ok(limits) => limits,
                Err(refusal) => {
                    let watch = ResponseWatch::new(part, Limited::default());
                    return ResponseFuture::new(Guarded::refuse(refusal, watch));
                }
            },
        };
        let watch = ResponseWatch::new(part, limits);
        ResponseFuture::new(Guarded::start(&mut self.inner, request, watch))
    }
}
