use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use toolbooth_core::{CleanupEnd, HookCounter, Hooks};

/// How long a hook that is told to stop may take to notice, before it counts as one that cannot be stopped.
const STOP: Duration = Duration::from_millis(10);

/// What became of the hooks of a cleanup layer, since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DrainReport {
    /// Ran to their end.
    pub ran: u64,
    /// Panicked, or were stopped at their limit.
    pub failed: u64,
    /// Did not run, or not to their end: the drain's limit came, or the runtime was shut down.
    pub abandoned: u64,
    /// Still run, and nobody can stop them: pieces of [blocking work](crate::CallContext::spawn_blocking) that outlived their calls; and, after a
    /// drain came to its limit, the hooks of calls and their tasks where they block their thread, or nobody drives their
    /// runtime. Such a hook, and those that were to run after it, count as abandoned when it ends.
    pub orphaned: u64,
}

/// The tasks that run hooks, and the count of what became of them.
#[derive(Debug)]
pub(super) struct Tracker {
    tasks: TaskTracker,
    /// Blocking work that outlived its call.
    orphans: TaskTracker,
    /// Stops the hooks that run; a new one after each drain that came to its limit.
    stop: Mutex<CancellationToken>,
    count: Arc<Count>,
    closed: AtomicBool,
}

#[derive(Debug, Default)]
pub(super) struct Count {
    ran: AtomicU64,
    failed: AtomicU64,
    abandoned: AtomicU64,
}

/// Counts for a batch of hooks.
struct Counting(Arc<Count>);

// === impl Tracker ===

impl Tracker {
    pub(super) fn new() -> Self {
        Self {
            tasks: TaskTracker::new(),
            orphans: TaskTracker::new(),
            stop: Mutex::default(),
            count: Arc::default(),
            closed: AtomicBool::new(false),
        }
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Runs them on a task of their own, each for so long; `None` where there is no runtime for it, and they are abandoned.
    pub(super) fn run(
        &self,
        hooks: Hooks,
        end: CleanupEnd,
        limit: Duration,
    ) -> Option<JoinHandle<()>> {
        let runtime = hooks.runtime();
        let stop = self.stop().clone();
        let run = hooks.run(
            end,
            limit,
            Counting(Arc::clone(&self.count)),
            stop.cancelled_owned(),
        );
        Some(self.tasks.spawn_on(run, &runtime?))
    }

    /// One more piece of blocking work that goes on, until what comes back is dropped.
    pub(super) fn orphan(&self) -> TaskTrackerToken {
        self.orphans.token()
    }

    fn stop(&self) -> MutexGuard<'_, CancellationToken> {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn report(&self) -> DrainReport {
        self.report_with(self.orphans.len())
    }

    fn report_with(&self, orphaned: usize) -> DrainReport {
        DrainReport {
            ran: self.count.ran.load(Ordering::Acquire),
            failed: self.count.failed.load(Ordering::Acquire),
            abandoned: self.count.abandoned.load(Ordering::Acquire),
            orphaned: u64::try_from(orphaned).unwrap_or(u64::MAX),
        }
    }

    pub(super) async fn drain(&self, limit: Duration) -> DrainReport {
        self.tasks.close();
        self.orphans.close();
        let all = async {
            self.tasks.wait().await;
            self.orphans.wait().await;
        };
        if tokio::time::timeout(limit, all).await.is_err() {
            let stop = std::mem::take(&mut *self.stop());
            stop.cancel();
            // The tasks that can stop do so when they are next polled; those that block are left behind.
            let stopped = tokio::time::timeout(STOP, self.tasks.wait()).await;
            if stopped.is_err() {
                tracing::warn!(
                    tasks = self.tasks.len(),
                    "cleanup hooks were told to stop and still run"
                );
            }
            if !self.orphans.is_empty() {
                tracing::warn!(
                    orphans = self.orphans.len(),
                    "blocking work outlives its call"
                );
            }
        }
        self.report_with(self.tasks.len() + self.orphans.len())
    }
}

// === impl Counting ===

impl HookCounter for Counting {
    fn ran(&self) {
        self.0.ran.fetch_add(1, Ordering::AcqRel);
    }

    fn failed(&self) {
        self.0.failed.fetch_add(1, Ordering::AcqRel);
    }

    fn abandoned(&self, hooks: usize) {
        self.0
            .abandoned
            .fetch_add(u64::try_from(hooks).unwrap_or(u64::MAX), Ordering::AcqRel);
    }
}
