use std::task::{Context, Poll};

use toolbooth_core::{BoxError, Part, TaskScope, ToolError, ToolRequest, ToolResponse};
use tower_service::Service;

use super::future::{ResponseFuture, ResponseWatch, Spawned};
use super::task::OwnTask;
use crate::middleware::{Contained, Guarded};

/// A tool of which each call runs on a task of its own. Made by [`SpawnLayer`](super::SpawnLayer).
#[derive(Debug, Clone)]
pub struct Spawn<S> {
    inner: Spawning<S>,
}

/// What the layer's own future drives: it is always ready, and what comes out of it is on a task.
#[derive(Debug, Clone)]
pub(super) struct Spawning<S> {
    inner: S,
    spawns: bool,
}

// === impl Spawn ===

impl<S> Spawn<S> {
    pub(super) const fn new(inner: S, spawns: bool) -> Self {
        Self {
            inner: Spawning { inner, spawns },
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

impl<S, R> Service<R> for Spawn<S>
where
    R: ToolRequest + Send + 'static,
    S: Service<R, Future: Send, Response: Send> + Clone + Send + 'static,
    S::Response: ToolResponse,
    S::Error: Into<BoxError>,
{
    type Response = <S::Response as ToolResponse>::Watched<ResponseWatch>;
    type Error = ToolError;
    type Future = ResponseFuture<S, R>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, mut request: R) -> Self::Future {
        let watch = ResponseWatch::new(Part::enter(request.context()), self.inner.spawns);
        ResponseFuture::new(Guarded::start_unless_cut(&mut self.inner, request, watch))
    }
}

// === impl Spawning ===

impl<S, R> Service<R> for Spawning<S>
where
    R: ToolRequest + Send + 'static,
    S: Service<R, Future: Send, Response: Send> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = ToolError;
    type Future = Spawned<S, R>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, mut request: R) -> Self::Future {
        if !self.spawns {
            let contained = Contained::start(&mut self.inner, request, false);
            return Spawned::InPlace { contained };
        }
        let scope = TaskScope::enter(request.context());
        let contained = Contained::start(&mut self.inner, request, true);
        Spawned::OnTask {
            task: OwnTask::new(contained, scope),
        }
    }
}
