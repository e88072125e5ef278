//! Who runs the hooks of a call, and where its answer waits for them.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Timeout, timeout};
use toolbooth_core::{CleanupEnd, DEFAULT_HOOK_LIMIT, Hooks, RunHooks};

use super::tracker::Tracker;

/// Runs hooks, each for so long: those of all calls of a layer, or of one whose answer waits for them.
#[derive(Debug)]
pub(super) struct Runner {
    tracker: Arc<Tracker>,
    limit: Duration,
    waiting: Option<Waiting>,
}

/// Where the end of a call leaves word of the hooks that it started, for the future that waits for them.
#[derive(Debug)]
struct Waiting {
    limit: Duration,
    hooks: Mutex<Option<Running>>,
}

/// The task that runs the hooks; with a timer from the first poll on, which is on a runtime where the end may not be.
#[derive(Debug)]
enum Running {
    Left(JoinHandle<()>),
    Timed(Pin<Box<Timeout<JoinHandle<()>>>>),
}

// === impl Runner ===

impl Runner {
    pub(super) fn with_limit(&self, limit: Duration) -> Self {
        Self {
            tracker: Arc::clone(&self.tracker),
            limit,
            waiting: None,
        }
    }

    /// For one call, whose answer waits for its hooks, for so long at most.
    pub(super) fn with_wait(&self, limit: Duration) -> Self {
        let hooks = Mutex::default();
        let waiting = Some(Waiting { limit, hooks });
        Self {
            waiting,
            ..self.with_limit(self.limit)
        }
    }

    pub(super) fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// Ready when the hooks are done, or their time is up; and at once where the end has not come with the head of the answer.
    pub(super) fn poll_hooks(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.waiting {
            Some(waiting) => waiting.poll(cx),
            None => Poll::Ready(()),
        }
    }
}

impl Default for Runner {
    fn default() -> Self {
        Self {
            tracker: Arc::new(Tracker::new()),
            limit: DEFAULT_HOOK_LIMIT,
            waiting: None,
        }
    }
}

impl RunHooks for Runner {
    fn run_hooks(&self, hooks: Hooks, end: CleanupEnd) {
        let running = self.tracker.run(hooks, end, self.limit);
        // Where no answer waits for them, nobody does but a drain.
        if let Some((waiting, running)) = self.waiting.as_ref().zip(running) {
            waiting.leave(running);
        }
    }
}

// === impl Waiting ===

impl Waiting {
    fn leave(&self, hooks: JoinHandle<()>) {
        *self.hooks.lock().unwrap_or_else(PoisonError::into_inner) = Some(Running::Left(hooks));
    }

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
