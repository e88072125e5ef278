//! Runs the hooks of a call, and stores their task for a response that waits for them.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Timeout, timeout};
use toolbooth_core::{CleanupEnd, DEFAULT_HOOK_LIMIT, Hooks, RunHooks};

use super::tracker::Tracker;

/// Runs hooks: those of all calls of a layer, or of one call whose response waits for them.
#[derive(Debug)]
pub(super) struct Runner {
    tracker: Arc<Tracker>,
    /// How long each hook may run.
    limit: Duration,
    wait: Option<Wait>,
}

/// The hooks that the response of one call waits for.
#[derive(Debug)]
struct Wait {
    limit: Duration,
    hooks: Mutex<Option<Running>>,
}

/// The task that runs the hooks. The first poll adds the timer: it is on a runtime, the end of a
/// call may not be.
#[derive(Debug)]
enum Running {
    Spawned(JoinHandle<()>),
    Polled(Pin<Box<Timeout<JoinHandle<()>>>>),
}

// === impl Runner ===

impl Runner {
    pub(super) fn with_limit(&self, limit: Duration) -> Self {
        Self {
            tracker: Arc::clone(&self.tracker),
            limit,
            wait: None,
        }
    }

    /// Returns the runner of one call whose response waits for its hooks, for at most `limit`.
    pub(super) fn with_wait(&self, limit: Duration) -> Self {
        let hooks = Mutex::default();
        let wait = Some(Wait { limit, hooks });
        Self {
            wait,
            ..self.with_limit(self.limit)
        }
    }

    pub(super) fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// Ready when the hooks have ended, when the wait has reached its limit, and if no hooks have
    /// started: the end of a streaming response comes after its head.
    pub(super) fn poll_hooks(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.wait {
            Some(wait) => wait.poll(cx),
            None => Poll::Ready(()),
        }
    }
}

impl Default for Runner {
    fn default() -> Self {
        Self {
            tracker: Arc::new(Tracker::new()),
            limit: DEFAULT_HOOK_LIMIT,
            wait: None,
        }
    }
}

impl RunHooks for Runner {
    fn run_hooks(&self, hooks: Hooks, end: CleanupEnd) {
        let running = self.tracker.run(hooks, end, self.limit);
        if let Some((wait, running)) = self.wait.as_ref().zip(running) {
            wait.set(running);
        }
    }
}

// === impl Wait ===

impl Wait {
    fn set(&self, hooks: JoinHandle<()>) {
        *self.hooks.lock().unwrap_or_else(PoisonError::into_inner) = Some(Running::Spawned(hooks));
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut hooks = self.hooks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut running = match hooks.take() {
            None => return Poll::Ready(()),
            Some(Running::Spawned(task)) => Box::pin(timeout(self.limit, task)),
            Some(Running::Polled(running)) => running,
        };
        let done = running.as_mut().poll(cx).map(|_| ());
        *hooks = Some(Running::Polled(running));
        done
    }
}
