use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use toolbooth_core::{BoxError, End, Part, ToolError, ToolRequest, ToolResponse, Watch};
use tower_service::Service;

use super::service::Spawning;
use super::task::OwnTask;
use crate::middleware::{Contained, Guarded};

pin_project! {
    /// A call on a task of its own.
    #[must_use = "dropping it ends the call"]
    pub struct ResponseFuture<S, R>
    where
        S: Service<R>,
        S: Clone,
        S: Send,
        S: 'static,
        S::Future: Send,
        S::Response: Send,
        S::Error: Into<BoxError>,
        R: ToolRequest,
        R: Send,
        R: 'static,
    {
        #[pin]
        guarded: Guarded<Spawning<S>, R, ResponseWatch>,
    }
}

pin_project! {
    /// What is inside, on its task; or in place, where the layer is off.
    #[project = SpawnedProj]
    pub(super) enum Spawned<S, R>
    where
        S: Service<R>,
    {
        OnTask { task: OwnTask<Contained<S, R>, Result<S::Response, ToolError>> },
        InPlace { #[pin] contained: Contained<S, R> },
    }
}

/// Makes a panic of a streamed answer its last error: its consumer polls it, not the task.
#[derive(Debug)]
pub struct ResponseWatch {
    part: Part,
    catches: bool,
}

// === impl ResponseFuture ===

impl<S, R> ResponseFuture<S, R>
where
    S: Service<R, Future: Send, Response: Send> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    R: ToolRequest + Send + 'static,
{
    pub(super) const fn new(guarded: Guarded<Spawning<S>, R, ResponseWatch>) -> Self {
        Self { guarded }
    }
}

impl<S, R> Future for ResponseFuture<S, R>
where
    S: Service<R, Future: Send, Response: Send> + Clone + Send + 'static,
    S::Response: ToolResponse,
    S::Error: Into<BoxError>,
    R: ToolRequest + Send + 'static,
{
    type Output = Result<<S::Response as ToolResponse>::Watched<ResponseWatch>, ToolError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().guarded.poll(cx)
    }
}

impl<S, R> fmt::Debug for ResponseFuture<S, R>
where
    S: Service<R, Future: Send, Response: Send> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    R: ToolRequest + Send + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

// === impl Spawned ===

impl<S, R> Future for Spawned<S, R>
where
    S: Service<R, Future: Send, Response: Send> + Send + 'static,
    S::Error: Into<BoxError>,
    R: Send + 'static,
{
    type Output = Result<S::Response, ToolError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            SpawnedProj::OnTask { task } => Pin::new(task).poll(cx).map(|answer| answer?),
            SpawnedProj::InPlace { contained } => contained.poll(cx),
        }
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
