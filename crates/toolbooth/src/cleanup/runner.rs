//! Runs the hooks of a call, and stores their task for a response that waits for them.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Timeout, timeout};
use toolbooth_core::{CleanupEnd, DEFAULT_HOOK_LIMIT, Hooks, RunHooks};

use crate::middleware::LimitId;
use crate::middleware::tracker::Tracker;

/// Runs hooks: those of all calls of a layer, or of one call whose response waits for them.
#[derive(Debug)]
pub(super) struct Runner {
    shared: Arc<Shared>,
    /// How long each hook may run.
    limit: Duration,
    wait: Option<Wait>,
}

/// What the clones of a layer share.
#[derive(Debug)]
struct Shared {
    /// By it a child call finds out that a call above was admitted.
    id: LimitId,
    tracker: Tracker,
    /// Whether new calls are rejected.
    closed: AtomicBool,
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
            shared: Arc::clone(&self.shared),
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
        &self.shared.tracker
    }

    pub(super) fn id(&self) -> LimitId {
        self.shared.id
    }

    pub(super) fn close(&self) {
        self.shared.closed.store(true, Ordering::Release);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Acquire)
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
            shared: Arc::new(Shared {
                id: LimitId::unique(),
                tracker: Tracker::new(),
                closed: AtomicBool::new(false),
            }),
            limit: DEFAULT_HOOK_LIMIT,
            wait: None,
        }
    }
}

impl RunHooks for Runner {
    fn run_hooks(&self, hooks: Hooks, end: CleanupEnd) {
        let running = self.tracker().run(hooks, end, self.limit);
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
