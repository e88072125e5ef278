use std::task::{Context, Poll};

use toolbooth_core::{BoxError, ToolError, ToolRequest, ToolResponse};
use tower_service::Service;

use crate::middleware::{Decision, LayerFuture, LayerWatch, PartWatch, inner_accessors};

/// Turns panics of the inner service into errors. Made by
/// [`CatchPanicLayer`](super::CatchPanicLayer).
#[derive(Debug, Clone)]
pub struct CatchPanic<S> {
    inner: S,
    catches: bool,
}

/// The future of [`CatchPanic`].
pub type ResponseFuture<S, R> = LayerFuture<S, R, ResponseWatch>;

/// Turns a panic of a call, or of its streaming response, into its error.
#[derive(Debug)]
pub struct ResponseWatch {
    catches: bool,
}

// === impl CatchPanic ===

inner_accessors!(CatchPanic);

impl<S> CatchPanic<S> {
    pub(super) const fn new(inner: S, catches: bool) -> Self {
        Self { inner, catches }
    }
}

impl<S, R> Service<R> for CatchPanic<S>
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

    #[inline]
    fn call(&mut self, request: R) -> Self::Future {
        let catches = self.catches;
        LayerFuture::new(&mut self.inner, request, |_| {
            Decision::Start(ResponseWatch { catches })
        })
    }
}

// === impl ResponseWatch ===

impl LayerWatch for ResponseWatch {
    fn catches_panics(&self) -> bool {
        self.catches
    }
}
