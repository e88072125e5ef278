use std::task::{Context, Poll};

use toolbooth_core::{BoxError, Part, ToolError, ToolRequest, ToolResponse};
use tower_service::Service;

use super::future::{ResponseFuture, ResponseWatch};
use crate::middleware::{Contained, Guarded};

/// A tool whose panics are errors. Made by [`CatchPanicLayer`](super::CatchPanicLayer).
#[derive(Debug, Clone)]
pub struct CatchPanic<S> {
    inner: Catching<S>,
}

/// What the layer's own future drives: it is always ready, and nothing comes out of it but answers and errors.
#[derive(Debug, Clone)]
pub(super) struct Catching<S> {
    inner: S,
    catches: bool,
}

// === impl CatchPanic ===

impl<S> CatchPanic<S> {
    pub(super) const fn new(inner: S, catches: bool) -> Self {
        Self {
            inner: Catching { inner, catches },
        }
    }

    /// The tool inside.
    pub const fn get_ref(&self) -> &S {
        &self.inner.inner
    }

    /// The tool inside, to change.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner.inner
    }

    /// The tool inside, by value.
    pub fn into_inner(self) -> S {
        self.inner.inner
    }
}

impl<S, R> Service<R> for CatchPanic<S>
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

    #[inline]
    fn call(&mut self, mut request: R) -> Self::Future {
        let watch = ResponseWatch::new(Part::enter(request.context()), self.inner.catches);
        ResponseFuture::new(Guarded::start_unless_cut(&mut self.inner, request, watch))
    }
}

// === impl Catching ===

impl<S, R> Service<R> for Catching<S>
where
    R: ToolRequest,
    S: Service<R> + Clone,
    S::Error: Into<BoxError> + 'static,
{
    type Response = S::Response;
    type Error = ToolError;
    type Future = Contained<S, R>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        Contained::start(&mut self.inner, request, self.catches)
    }
}
