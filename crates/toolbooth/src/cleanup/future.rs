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
use super::tracker::Tracker;
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
        waiting: Option<Waiting>,
        answer: Option<Answer<S, R>>,
    }
}

type Answer<S, R> =
    Result<<<S as Service<R>>::Response as ToolResponse>::Watched<ResponseWatch>, ToolError>;

/// Runs the hooks at the end of the answer.
#[derive(Debug)]
pub struct ResponseWatch {
    part: Part,
    tracker: Option<Arc<Tracker>>,
    hook_limit: Option<Duration>,
    waiting: Option<Waiting>,
}

/// Where the end leaves word of the hooks that it started, for the future that waits for them.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    limit: Duration,
    hooks: Arc<Mutex<Option<Running>>>,
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
    pub(super) const fn new(
        guarded: Guarded<S, R, ResponseWatch>,
        waiting: Option<Waiting>,
    ) -> Self {
        Self {
            guarded,
            waiting,
            answer: None,
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

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(waiting) = this.waiting else {
            return this.guarded.poll(cx);
        };
        if this.answer.is_none() {
            *this.answer = Some(ready!(this.guarded.poll(cx)));
        }
        ready!(waiting.poll_hooks(cx));
        match this.answer.take() {
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
    pub(super) fn new(part: Part, layer: &CleanupLayer) -> Self {
        Self {
            part,
            tracker: layer.tracker.clone(),
            hook_limit: layer.hook_limit,
            waiting: layer.wait.map(|limit| Waiting {
                limit,
                hooks: Arc::default(),
            }),
        }
    }

    pub(super) fn waiting(&self) -> Option<Waiting> {
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

    fn on_end(self, end: End<'_>) {
        let Self {
            part,
            tracker,
            hook_limit,
            waiting,
        } = self;
        part.end(end, |part, end| {
            let Some(tracker) = tracker else { return };
            part.count_blocking(|| tracker.orphan());
            let context = part.context();
            let hooks = context.take_hooks();
            if hooks.is_empty() {
                return;
            }
            let running = tracker.run(hooks, context.cleanup_end(end.outcome()), hook_limit);
            if let (Some(waiting), Some(running)) = (waiting, running) {
                waiting.leave(running);
            }
        });
    }
}

// === impl Waiting ===

impl Waiting {
    fn leave(&self, hooks: JoinHandle<()>) {
        *self.hooks.lock().unwrap_or_else(PoisonError::into_inner) = Some(Running::Left(hooks));
    }

    /// Ready at once where the end has not come with the head of the answer.
    fn poll_hooks(&self, cx: &mut Context<'_>) -> Poll<()> {
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
