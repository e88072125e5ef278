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
    /// A call whose cleanup hooks are run.
    #[must_use = "dropping it ends the call"]
    pub struct ResponseFuture<S, R>
    where
        S: Service<R>,
        S::Response: ToolResponse,
    {
        #[pin]
        inner: LayerFuture<S, R, ResponseWatch>,
        // Only where the answer waits for the hooks.
        waits: Option<Box<Waits<Output<S, R>>>>,
    }
}

/// An answer that waits for the hooks.
struct Waits<T> {
    runner: Arc<Runner>,
    answer: Option<T>,
}

type Output<S, R> = Result<
    <<S as Service<R>>::Response as ToolResponse>::Watched<PartWatch<ResponseWatch>>,
    ToolError,
>;

/// Runs the hooks at the end of the answer.
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
        let waits = |runner| {
            let answer = None;
            Box::new(Waits { runner, answer })
        };
        Self {
            inner,
            waits: waits_for.map(waits),
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
        let Some(waits) = this.waits else {
            return this.inner.poll(cx);
        };
        if waits.answer.is_none() {
            waits.answer = Some(ready!(this.inner.poll(cx)));
        }
        ready!(waits.runner.poll_hooks(cx));
        match waits.answer.take() {
            Some(answer) => Poll::Ready(answer),
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
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
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
        part.count_blocking(|| runner.tracker().orphan());
        if let Some(hooks) = part.take_hooks() {
            runner.run_hooks(hooks, part.cleanup_end(end.outcome()));
        }
    }
}
