use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use toolbooth_core::{CleanupEnd, DEFAULT_HOOK_LIMIT, Hooks, Outcome, RunHooks};

use super::calls::Calls;
use crate::middleware::LimitId;
use crate::middleware::tracker::{CANCEL_LIMIT, DrainReport, Tracker};

/// What the clones of a layer share.
#[derive(Debug)]
pub(super) struct Shared {
    /// By it a child call finds out that a call above is counted.
    pub(super) id: LimitId,
    pub(super) calls: Calls,
    /// The hooks that this layer runs, and the blocking work.
    pub(super) tracker: Tracker,
    /// Calls that something outlives: also hooks that inner layers run.
    pub(super) outliving: TaskTracker,
}

/// A call that is counted until this is dropped.
#[derive(Debug)]
pub(super) struct InFlight {
    shared: Arc<Shared>,
    /// Whether the call was notified of the cancellation.
    notified: bool,
}

// === impl Shared ===

impl Shared {
    pub(super) fn new() -> Self {
        Self {
            id: LimitId::unique(),
            calls: Calls::default(),
            tracker: Tracker::new(),
            outliving: TaskTracker::new(),
        }
    }

    pub(super) fn run(&self, hooks: Hooks, end: CleanupEnd) {
        self.tracker.run(hooks, end, DEFAULT_HOOK_LIMIT);
    }

    pub(super) async fn shutdown(&self, grace: Duration, limit: Duration) -> DrainReport {
        self.calls.close();
        let in_flight = self.calls.in_flight();
        tracing::debug!(in_flight, ?grace, ?limit, "shutting down");
        if timeout(grace, self.calls.ended()).await.is_err() {
            self.calls.cancel();
        }
        self.outliving.close();
        let all = async {
            self.calls.ended().await;
            self.tracker.ended().await;
            self.outliving.wait().await;
        };
        if timeout(limit, all).await.is_ok() {
            return self.report(0);
        }
        // A cancelled call ends when it is next polled, and its hooks start then.
        let ended = timeout(CANCEL_LIMIT, self.calls.ended()).await.is_ok();
        self.tracker.cancel_all().await;
        let in_flight = match ended {
            true => 0,
            false => self.calls.in_flight(),
        };
        if in_flight > 0 {
            tracing::warn!(in_flight, "calls were cancelled and still run");
        }
        self.report(in_flight)
    }

    fn report(&self, in_flight: usize) -> DrainReport {
        let (completed, cancelled) = self.calls.counts(in_flight);
        let mut report = self.tracker.final_report();
        report.completed = completed;
        report.cancelled = cancelled;
        let count = |count| u64::try_from(count).unwrap_or(u64::MAX);
        // A call with blocking work is in both counts.
        let orphaned = report.orphaned.max(count(self.outliving.len()));
        report.orphaned = orphaned.saturating_add(count(in_flight));
        report
    }
}

impl RunHooks for Shared {
    fn run_hooks(&self, hooks: Hooks, end: CleanupEnd) {
        self.run(hooks, end);
    }
}

// === impl InFlight ===

impl InFlight {
    /// Counts a call, unless the layer is closed.
    #[inline]
    pub(super) fn enter(shared: &Arc<Shared>) -> Option<Self> {
        shared.calls.enter().then(|| Self {
            shared: Arc::clone(shared),
            notified: false,
        })
    }

    pub(super) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) const fn set_notified(&mut self) {
        self.notified = true;
    }

    /// Counts the call as cancelled if it is. A response or an error that was ready counts.
    pub(super) fn end(&self, outcome: Outcome) {
        if self.notified && outcome == Outcome::Cancelled {
            self.shared.calls.count_cancelled();
        }
    }
}

impl Drop for InFlight {
    #[inline]
    fn drop(&mut self) {
        self.shared.calls.leave();
    }
}
