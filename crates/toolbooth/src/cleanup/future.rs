use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::task::JoinHandle;
use tokio::time::{Timeout, timeout};
use toolbooth_core::{BoxError, CallContext, End, Part, ToolError, ToolResponse, Watch};
use tower_service::Service;

use super::CleanupLayer;
use super::tracker::Runner;
use crate::shell::{Guarded, LayerWatch};

pin_project! {
    /// A call whose cleanup hooks are run.
    #[must_use = "dropping it ends the call"]
    pub struct ResponseFuture<S, R>
    where
        S: Service<R>,
        S::Response: ToolResponse,
    {
        #[pin]
        guarded: Guarded<S, R, ResponseWatch>,
        // Only where the answer waits for the hooks.
        waits: Option<Box<Waits<Answer<S, R>>>>,
    }
}

/// An answer that waits for the hooks.
struct Waits<T> {
    hooks: Arc<Waiting>,
    answer: Option<T>,
}

type Answer<S, R> =
    Result<<<S as Service<R>>::Response as ToolResponse>::Watched<ResponseWatch>, ToolError>;

/// Runs the hooks at the end of the answer.
#[derive(Debug)]
pub struct ResponseWatch {
    part: Part,
    runner: Option<Arc<Runner>>,
    waiting: Option<Arc<Waiting>>,
}

/// Where the end leaves word of the hooks that it started, for the future that waits for them.
#[derive(Debug)]
pub(super) struct Waiting {
    limit: Duration,
    hooks: Mutex<Option<Running>>,
}

/// The task that runs the hooks; with a timer from the first poll on, which is on a runtime where the end may not be.
#[derive(Debug)]
enum Running {
    Left(JoinHandle<()>),
    Timed(Pin<Box<Timeout<JoinHandle<()>>>>),
}

// === impl ResponseFuture ===

impl<S, R> ResponseFuture<S, R>
where
    S: Service<R>,
    S::Response: ToolResponse,
{
    pub(super) fn new(
        guarded: Guarded<S, R, ResponseWatch>,
        waiting: Option<Arc<Waiting>>,
    ) -> Self {
        let waits = |hooks| {
            let answer = None;
            Box::new(Waits { hooks, answer })
        };
        Self {
            guarded,
            waits: waiting.map(waits),
        }
    }
}

impl<S, R> Future for ResponseFuture<S, R>
where
    S: Service<R>,
    S::Response: ToolResponse,
    S::Error: Into<BoxError> + 'static,
{
    type Output = Answer<S, R>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(waits) = this.waits else {
            return this.guarded.poll(cx);
        };
        if waits.answer.is_none() {
            waits.answer = Some(ready!(this.guarded.poll(cx)));
        }
        ready!(waits.hooks.poll(cx));
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
    #[inline(always)]
    pub(super) fn new(part: Part, layer: &CleanupLayer) -> Self {
        Self {
            part,
            runner: layer.runner.clone(),
            waiting: layer.wait.map(|limit| Arc::new(Waiting::new(limit))),
        }
    }

    pub(super) fn waiting(&self) -> Option<Arc<Waiting>> {
        self.waiting.clone()
    }
}

impl LayerWatch for ResponseWatch {
    fn part(&self) -> Option<&Part> {
        Some(&self.part)
    }
}

impl Watch for ResponseWatch {
    fn context(&self) -> Option<&CallContext> {
        Some(self.part.context())
    }

    #[inline(always)]
    fn on_end(self, end: End<'_>) {
        let Self {
            part,
            runner,
            waiting,
        } = self;
        part.end(end, |part, end| {
            let Some(runner) = runner else { return };
            part.count_blocking(|| runner.tracker().orphan());
            let context = part.context();
            let hooks = context.take_hooks();
            if hooks.is_empty() {
                return;
            }
            let running = runner.run(hooks, context.cleanup_end(end.outcome()));
            if let (Some(waiting), Some(running)) = (waiting, running) {
                waiting.leave(running);
            }
        });
    }
}

// === impl Waiting ===

impl Waiting {
    fn new(limit: Duration) -> Self {
        let hooks = Mutex::default();
        Self { limit, hooks }
    }

    fn leave(&self, hooks: JoinHandle<()>) {
        *self.hooks.lock().unwrap_or_else(PoisonError::into_inner) = Some(Running::Left(hooks));
    }

    /// Ready at once where the end has not come with the head of the answer.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut hooks = self.hooks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut running = match hooks.take() {
            None => return Poll::Ready(()),
            Some(Running::Left(task)) => Box::pin(timeout(self.limit, task)),
            Some(Running::Timed(running)) => running,
        };
        let done = running.as_mut().poll(cx).map(|_| ());
        *hooks = Some(Running::Timed(running));
        done
    }
}
