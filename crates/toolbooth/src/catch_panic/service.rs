use std::task::{Context, Poll};

use toolbooth_core::{BoxError, ErrorKind, LayerName, ToolError, ToolRequest, ToolResponse};
use tower_service::Service;

use crate::middleware::{Decision, LayerFuture, LayerWatch, PartWatch, inner_accessors};

/// Turns panics of the inner service into errors. Made by
/// [`CatchPanicLayer`](super::CatchPanicLayer).
#[derive(Debug, Clone)]
pub struct CatchPanic<S> {
    inner: S,
    catches: bool,
    name: LayerName,
}

/// The future of [`CatchPanic`].
pub type ResponseFuture<S, R> = LayerFuture<S, R, ResponseWatch>;

/// Turns a panic of a call, or of its streaming response, into its error.
#[derive(Debug)]
pub struct ResponseWatch {
    catches: bool,
    name: LayerName,
}

// === impl CatchPanic ===

inner_accessors!(CatchPanic);

impl<S> CatchPanic<S> {
    pub(super) const fn new(inner: S, catches: bool, name: LayerName) -> Self {
        Self {
            inner,
            catches,
            name,
        }
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
        let Self {
            inner,
            catches,
            name,
        } = self;
        let catches = *catches;
        LayerFuture::new(inner, request, |_| {
            let name = name.clone();
            Decision::Start(ResponseWatch { catches, name })
        })
    }
}

// === impl ResponseWatch ===

impl LayerWatch for ResponseWatch {
    fn catches_panics(&self) -> bool {
        self.catches
    }

    fn on_error(&self, error: &mut ToolError) {
        if self.catches && error.kind() == ErrorKind::Panicked && error.call_id().is_none() {
            error.set_layer(&self.name);
        }
    }
}
