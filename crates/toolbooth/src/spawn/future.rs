use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use toolbooth_core::{BoxError, ErrorKind, LayerName, ToolError, ToolRequest, ToolResponse};
use tower_service::Service;

use super::service::Spawning;
use super::task::OwnTask;
use crate::middleware::{LayerFuture, LayerWatch, PartWatch};

pin_project! {
    /// The future of [`Spawn`](super::Spawn).
    #[must_use = "dropping it ends the call"]
    pub struct ResponseFuture<S, R>
    where
        S: Service<R>,
        S::Error: Into<BoxError>,
        S::Error: 'static,
        R: ToolRequest,
        S::Future: Send,
        S::Future: 'static,
        S::Response: Send,
        S::Response: 'static,
    {
        #[pin]
        inner: LayerFuture<Spawning<S>, R, ResponseWatch>,
    }
}

pin_project! {
    /// The inner future on its task; or in place, if the layer is off.
    #[project = SpawnedProj]
    pub(super) enum Spawned<F, T> {
        OnTask { task: OwnTask<F, T> },
        InPlace { #[pin] future: F },
    }
}

/// Turns a panic of a call, or of its streaming response, into its error.
#[derive(Debug)]
pub struct ResponseWatch {
    pub(super) catches: bool,
    pub(super) name: LayerName,
}

// === impl ResponseFuture ===

impl<S, R> ResponseFuture<S, R>
where
    S: Service<R, Future: Send + 'static, Response: Send + 'static>,
    S::Error: Into<BoxError> + 'static,
    R: ToolRequest,
{
    pub(super) const fn new(inner: LayerFuture<Spawning<S>, R, ResponseWatch>) -> Self {
        Self { inner }
    }
}

impl<S, R> Future for ResponseFuture<S, R>
where
    S: Service<R, Future: Send + 'static, Response: Send + 'static>,
    S::Response: ToolResponse,
    S::Error: Into<BoxError> + 'static,
    R: ToolRequest,
{
    type Output =
        Result<<S::Response as ToolResponse>::Watched<PartWatch<ResponseWatch>>, ToolError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().inner.poll(cx)
    }
}

impl<S, R> fmt::Debug for ResponseFuture<S, R>
where
    S: Service<R, Future: Send + 'static, Response: Send + 'static>,
    S::Error: Into<BoxError> + 'static,
    R: ToolRequest,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("inner", &self.inner)
            .finish()
    }
}

// === impl Spawned ===

impl<F, T, E> Future for Spawned<F, T>
where
    F: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Into<BoxError> + 'static,
{
    type Output = Result<T, ToolError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            SpawnedProj::OnTask { task } => Pin::new(task).poll(cx),
            SpawnedProj::InPlace { future } => future.poll(cx).map_err(ToolError::from_error),
        }
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
