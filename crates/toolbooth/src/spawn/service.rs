use std::task::{Context, Poll};

use toolbooth_core::{BoxError, LayerName, TaskScope, ToolError, ToolRequest, ToolResponse};
use tower_service::Service;

use super::future::{ResponseFuture, ResponseWatch, Spawned};
use super::task::OwnTask;
use crate::middleware::{Decision, LayerFuture, PartWatch};

/// Runs each call of the inner service on a task of its own. Made by
/// [`SpawnLayer`](super::SpawnLayer).
#[derive(Debug, Clone)]
pub struct Spawn<S> {
    inner: Spawning<S>,
    name: LayerName,
}

/// The service that [`LayerFuture`] calls: its future runs the inner future on a task.
#[derive(Debug, Clone)]
pub(super) struct Spawning<S> {
    inner: S,
    spawns: bool,
}

// === impl Spawn ===

impl<S> Spawn<S> {
    pub(super) const fn new(inner: S, spawns: bool, name: LayerName) -> Self {
        let inner = Spawning { inner, spawns };
        Self { inner, name }
    }

    /// Returns a reference to the inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner.inner
    }

    /// Returns a mutable reference to the inner service.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner.inner
    }

    /// Consumes the layer's service and returns the inner service.
    pub fn into_inner(self) -> S {
        self.inner.inner
    }
}

impl<S, R> Service<R> for Spawn<S>
where
    R: ToolRequest + Send + 'static,
    S: Service<R, Future: Send, Response: Send> + Clone + Send + 'static,
    S::Response: ToolResponse,
    S::Error: Into<BoxError>,
{
    type Response = <S::Response as ToolResponse>::Watched<PartWatch<ResponseWatch>>;
    type Error = ToolError;
    type Future = ResponseFuture<S, R>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: R) -> Self::Future {
        let catches = self.inner.spawns;
        let inner = LayerFuture::new(&mut self.inner, request, |_| {
            let name = self.name.clone();
            Decision::Start(ResponseWatch { catches, name })
        });
        ResponseFuture::new(inner)
    }
}

// === impl Spawning ===

impl<S, R> Service<R> for Spawning<S>
where
    R: ToolRequest,
    S: Service<R, Future: Send, Response: Send>,
    S::Future: 'static,
    S::Error: Into<BoxError> + 'static,
    S::Response: 'static,
{
    type Response = S::Response;
    type Error = ToolError;
    type Future = Spawned<S::Future, S::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        self.inner.poll_ready(cx).map_err(ToolError::from_error)
    }

    fn call(&mut self, mut request: R) -> Self::Future {
        if !self.spawns {
            return Spawned::InPlace {
                future: self.inner.call(request),
            };
        }
        let scope = TaskScope::enter(request.context());
        let future = self.inner.call(request);
        Spawned::OnTask {
            task: OwnTask::new(future, scope),
        }
    }
}
