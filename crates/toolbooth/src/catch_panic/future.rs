use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use toolbooth_core::{BoxError, End, Part, ToolError, ToolRequest, ToolResponse, Watch};
use tower_service::Service;

use super::service::Catching;
use crate::middleware::Guarded;

pin_project! {
    /// A call whose panic is its error.
    #[must_use = "dropping it ends the call"]
    pub struct ResponseFuture<S, R>
    where
        S: Service<R>,
        S: Clone,
        S::Error: Into<BoxError>,
        S::Error: 'static,
        R: ToolRequest,
    {
        #[pin]
        guarded: Guarded<Catching<S>, R, ResponseWatch>,
    }
}

/// Makes a panic of a streamed answer its last error.
#[derive(Debug)]
pub struct ResponseWatch {
    part: Part,
    catches: bool,
}

// === impl ResponseFuture ===

impl<S, R> ResponseFuture<S, R>
where
    S: Service<R> + Clone,
    S::Error: Into<BoxError> + 'static,
    R: ToolRequest,
{
    pub(super) const fn new(guarded: Guarded<Catching<S>, R, ResponseWatch>) -> Self {
        Self { guarded }
    }
}

impl<S, R> Future for ResponseFuture<S, R>
where
    S: Service<R> + Clone,
    S::Response: ToolResponse,
    S::Error: Into<BoxError> + 'static,
    R: ToolRequest,
{
    type Output = Result<<S::Response as ToolResponse>::Watched<ResponseWatch>, ToolError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().guarded.poll(cx)
    }
}

impl<S, R> fmt::Debug for ResponseFuture<S, R>
where
    S: Service<R> + Clone,
    S::Error: Into<BoxError> + 'static,
    R: ToolRequest,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

// === impl ResponseWatch ===

impl ResponseWatch {
    pub(super) const fn new(part: Part, catches: bool) -> Self {
        Self { part, catches }
    }
}

impl Watch for ResponseWatch {
    fn part(&self) -> Option<&Part> {
        Some(&self.part)
    }

    fn catches_panics(&self) -> bool {
        self.catches
    }

    #[inline]
    fn on_end(self, end: End<'_>) {
        self.part.end(end, |_, _| ());
    }
}
