//! The work that outlives calls: it is awaited by a drain, and counted.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use toolbooth_core::{CleanupEnd, HookCounter, Hooks};

/// How long a cancelled hook may take to end, before it counts as orphaned.
pub(crate) const CANCEL_LIMIT: Duration = Duration::from_millis(10);

/// How the hooks of a cleanup or shutdown layer ended, since the layer was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DrainReport {
    /// Hooks that completed.
    pub ran: u64,
    /// Hooks that panicked or reached their limit.
    pub failed: u64,
    /// Hooks that did not run or did not complete: a drain reached its limit, or the runtime was
    /// shut down.
    pub abandoned: u64,
    /// Work that still runs and cannot be cancelled.
    ///
    /// [Blocking work](crate::CallContext::spawn_blocking) that outlived its call. After a drain
    /// that reached its limit, also hooks and tasks of calls that block their thread, or whose
    /// runtime is not driven. Such a hook, and the hooks after it, count as abandoned when it ends.
    /// After a [shutdown](crate::ShutdownLayer::shutdown), also cancelled calls of this kind.
    pub orphaned: u64,
    /// Calls that were in flight when a [shutdown](crate::ShutdownLayer::shutdown) began, and
    /// ended by themselves: with a response, an error or a timeout, or dropped by their callers.
    ///
    /// 0 in the reports of a cleanup layer, which does not count calls.
    pub completed: u64,
    /// Calls that a [shutdown](crate::ShutdownLayer::shutdown) cancelled after its grace.
    pub cancelled: u64,
}

/// The tasks that run hooks, and how the hooks ended.
#[derive(Debug)]
pub(crate) struct Tracker {
    tasks: TaskTracker,
    /// Blocking work that outlived its call.
    orphans: TaskTracker,
    /// Cancels the hooks that run. Replaced by each drain that reaches its limit.
    cancel: Mutex<CancellationToken>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    ran: AtomicU64,
    failed: AtomicU64,
    abandoned: AtomicU64,
}

/// Completes when the hooks are cancelled.
struct Cancelled {
    token: CancellationToken,
    /// Boxed, since each cleanup is a task and most need it for one poll (`storm`).
    wait: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

/// Counts the hooks of one call.
struct Counter(Arc<Counts>);

// === impl Tracker ===

impl Tracker {
    pub(crate) fn new() -> Self {
        Self {
            tasks: TaskTracker::new(),
            orphans: TaskTracker::new(),
            cancel: Mutex::default(),
            counts: Arc::default(),
        }
    }

    /// Runs the hooks of a call on a task, each for at most `limit`. Without a runtime they are
    /// abandoned, and the result is `None`.
    pub(crate) fn run(
        &self,
        hooks: Hooks,
        end: CleanupEnd,
        limit: Duration,
    ) -> Option<JoinHandle<()>> {
        let runtime = hooks.runtime();
        let cancelled = Cancelled {
            token: self.cancel().clone(),
            wait: None,
        };
        let run = hooks.run(end, limit, Counter(Arc::clone(&self.counts)), cancelled);
        Some(self.tasks.spawn_on(run, &runtime?))
    }

    /// Counts blocking work that outlives its call, until the token is dropped.
    pub(crate) fn orphan(&self) -> TaskTrackerToken {
        self.orphans.token()
    }

    fn cancel(&self) -> MutexGuard<'_, CancellationToken> {
        self.cancel.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn report(&self) -> DrainReport {
        self.report_with(self.orphans.len())
    }

    /// Returns the report of a drain: cancelled hooks that still run count as orphaned.
    pub(crate) fn final_report(&self) -> DrainReport {
        self.report_with(self.tasks.len() + self.orphans.len())
    }

    fn report_with(&self, orphaned: usize) -> DrainReport {
        DrainReport {
            ran: self.counts.ran.load(Ordering::Acquire),
            failed: self.counts.failed.load(Ordering::Acquire),
            abandoned: self.counts.abandoned.load(Ordering::Acquire),
            orphaned: u64::try_from(orphaned).unwrap_or(u64::MAX),
            completed: 0,
            cancelled: 0,
        }
    }

    pub(crate) async fn drain(&self, limit: Duration) -> DrainReport {
        if tokio::time::timeout(limit, self.ended()).await.is_err() {
            self.cancel_all().await;
        }
        self.final_report()
    }

    /// Waits until all hooks are done, and the blocking work that outlived its call.
    pub(crate) async fn ended(&self) {
        self.tasks.close();
        self.orphans.close();
        self.tasks.wait().await;
        self.orphans.wait().await;
    }

    /// Cancels the hooks that run. They have [`CANCEL_LIMIT`] to end.
    pub(crate) async fn cancel_all(&self) {
        self.tasks.close();
        std::mem::take(&mut *self.cancel()).cancel();
        // A task ends when it is next polled. One that blocks its thread does not.
        let cancelled = tokio::time::timeout(CANCEL_LIMIT, self.tasks.wait()).await;
        if cancelled.is_err() {
            let tasks = self.tasks.len();
            tracing::warn!(tasks, "cleanup hooks were cancelled and still run");
        }
        if !self.orphans.is_empty() {
            let orphans = self.orphans.len();
            tracing::warn!(orphans, "blocking work outlives its call");
        }
    }
}

// === impl Cancelled ===

impl Future for Cancelled {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { token, wait } = &mut *self;
        let wait = wait.get_or_insert_with(|| Box::pin(token.clone().cancelled_owned()));
        wait.as_mut().poll(cx)
    }
}

// === impl Counter ===

impl HookCounter for Counter {
    fn ran(&self) {
        self.0.ran.fetch_add(1, Ordering::AcqRel);
    }

    fn failed(&self) {
        self.0.failed.fetch_add(1, Ordering::AcqRel);
    }

    fn abandoned(&self, hooks: usize) {
        let hooks = u64::try_from(hooks).unwrap_or(u64::MAX);
        self.0.abandoned.fetch_add(hooks, Ordering::AcqRel);
    }
}
