use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use toolbooth_core::{BoxError, End, Part, RunHooks, ToolError, ToolResponse};
use tower_service::Service;

use super::runner::Runner;
use crate::middleware::{LayerFuture, LayerWatch, PartWatch};

pin_project! {
    /// The future of [`Cleanup`](super::Cleanup).
    #[must_use = "dropping it ends the call"]
    pub struct ResponseFuture<S, R>
    where
        S: Service<R>,
        S::Response: ToolResponse,
    {
        #[pin]
        inner: LayerFuture<S, R, ResponseWatch>,
        // Only with `CleanupLayer::with_wait`.
        wait: Option<Box<Wait<Output<S, R>>>>,
    }
}

/// A result that is returned when the hooks have ended.
struct Wait<T> {
    runner: Arc<Runner>,
    result: Option<T>,
}

type Output<S, R> = Result<
    <<S as Service<R>>::Response as ToolResponse>::Watched<PartWatch<ResponseWatch>>,
    ToolError,
>;

/// Runs the hooks at the end of the call.
#[derive(Debug)]
pub struct ResponseWatch {
    runner: Option<Arc<Runner>>,
}

// === impl ResponseFuture ===

impl<S, R> ResponseFuture<S, R>
where
    S: Service<R>,
    S::Response: ToolResponse,
{
    #[inline(always)]
    pub(super) fn new(
        inner: LayerFuture<S, R, ResponseWatch>,
        waits_for: Option<Arc<Runner>>,
    ) -> Self {
        let wait = |runner| {
            let result = None;
            Box::new(Wait { runner, result })
        };
        Self {
            inner,
            wait: waits_for.map(wait),
        }
    }
}

impl<S, R> Future for ResponseFuture<S, R>
where
    S: Service<R>,
    S::Response: ToolResponse,
    S::Error: Into<BoxError> + 'static,
{
    type Output = Output<S, R>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(wait) = this.wait else {
            return this.inner.poll(cx);
        };
        if wait.result.is_none() {
            wait.result = Some(ready!(this.inner.poll(cx)));
        }
        ready!(wait.runner.poll_hooks(cx));
        match wait.result.take() {
            Some(result) => Poll::Ready(result),
            None => Poll::Pending,
        }
    }
}

impl<S, R> fmt::Debug for ResponseFuture<S, R>
where
    S: Service<R>,
    S::Response: ToolResponse,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

// === impl ResponseWatch ===

impl ResponseWatch {
    pub(super) const fn new(runner: Option<Arc<Runner>>) -> Self {
        Self { runner }
    }
}

impl LayerWatch for ResponseWatch {
    #[inline(always)]
    fn on_end(self, part: &Part, end: &End<'_>) {
        let Some(runner) = self.runner else { return };
        part.release(runner.id());
        part.count_blocking(|| runner.tracker().orphan());
        if let Some(hooks) = part.take_hooks() {
            runner.run_hooks(hooks, part.cleanup_end(end.outcome()));
        }
    }
}
