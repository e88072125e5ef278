use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use toolbooth_core::{BoxError, End, Part, ToolError, ToolResponse, Watch};
use tower_service::Service;

use super::permits::{Acquire, Permit};
use crate::middleware::Guarded;

pin_project! {
    /// The future of a call under a concurrency limit. It owns the permit, or waits for it.
    #[must_use = "dropping it ends the call"]
    pub struct ResponseFuture<S, R>
    where
        S: Service<R>,
    {
        #[pin]
        guarded: Guarded<S, R, ResponseWatch, Acquire>,
    }
}

/// Owns the permit until the last byte of the response is delivered.
#[derive(Debug)]
pub struct ResponseWatch {
    pub(super) part: Part,
    pub(super) permit: Option<Permit>,
}

// === impl ResponseFuture ===

impl<S: Service<R>, R> ResponseFuture<S, R> {
    pub(super) const fn new(guarded: Guarded<S, R, ResponseWatch, Acquire>) -> Self {
        Self { guarded }
    }
}

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

impl ResponseWatch {
    pub(super) const fn new(part: Part, permit: Option<Permit>) -> Self {
        Self { part, permit }
    }
}

impl Watch for ResponseWatch {
    fn part(&self) -> Option<&Part> {
        Some(&self.part)
    }

    #[inline(always)]
    fn on_end(self, end: End<'_>) {
        self.part.end(end, |part, _| {
            if let Some(permit) = self.permit {
                part.release(permit.queue());
                // Drops the permit, unless blocking work of the call outlives it.
                part.keep_for_blocking(permit);
            }
        });
    }
}
