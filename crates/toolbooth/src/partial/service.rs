use std::fmt;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use toolbooth_core::{
    BoxError, End, Item, KeepPolicy, Part, ToolError, ToolRequest, ToolResponse, Watch,
};
use tower_service::Service;

use crate::middleware::Guarded;

/// A tool whose partial results are kept. Made by [`PartialResultLayer`](super::PartialResultLayer).
#[derive(Debug, Clone)]
pub struct PartialResult<S> {
    inner: S,
    policy: Option<KeepPolicy>,
}

pin_project! {
    /// A call whose partial results are kept.
    #[must_use = "dropping it ends the call"]
    pub struct ResponseFuture<S, R>
    where
        S: Service<R>,
    {
        #[pin]
        guarded: Guarded<S, R, ResponseWatch>,
    }
}

/// Keeps the pieces of a streamed answer.
#[derive(Debug)]
pub struct ResponseWatch {
    part: Part,
}

// === impl PartialResult ===

impl<S> PartialResult<S> {
    pub(super) const fn new(inner: S, policy: Option<KeepPolicy>) -> Self {
        Self { inner, policy }
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
}

impl<S, R> Service<R> for PartialResult<S>
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
        let part = Part::enter(request.context());
        if let Some(policy) = self.policy {
            part.keep(policy);
        }
        let watch = ResponseWatch { part };
        ResponseFuture {
            guarded: Guarded::start_unless_cut(&mut self.inner, request, watch),
        }
    }
}

// === impl ResponseFuture ===

impl<S, R> Future for ResponseFuture<S, R>
where
    S: Service<R>,
    S::Response: ToolResponse,
    S::Error: Into<BoxError> + 'static,
{
    type Output = Result<<S::Response as ToolResponse>::Watched<ResponseWatch>, ToolError>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().guarded.poll(cx)
    }
}

impl<S: Service<R>, R> fmt::Debug for ResponseFuture<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

// === impl ResponseWatch ===

impl Watch for ResponseWatch {
    fn part(&self) -> Option<&Part> {
        Some(&self.part)
    }

    fn on_item(&mut self, piece: Item<'_>) -> ControlFlow<ToolError> {
        self.part.keep_streamed(piece);
        ControlFlow::Continue(())
    }

    #[inline(always)]
    fn on_end(self, end: End<'_>) {
        self.part.end(end, |_, _| ());
    }
}
