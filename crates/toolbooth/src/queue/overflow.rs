//! The queue that new keys share while all keys are in use.

use std::time::Duration;

use toolbooth_core::{CallContext, Moment};

use super::limit_queue::Settings;
use super::{LimitQueue, Limiter};
use crate::middleware::sync::Arc;
use crate::middleware::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How long after a warning no other one is logged.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// A queue without a key of its own, with the limit of a key that has none of its own.
#[derive(Debug)]
pub(super) struct Overflow<L: Limiter> {
    queue: Arc<LimitQueue<L>>,
    /// When the next warning may be logged, in nanoseconds; 0 while no call has used the queue.
    next_warning: AtomicU64,
    /// Whether the last new key found no room.
    is_full: AtomicBool,
}

// === impl Overflow ===

impl<L: Limiter> Overflow<L> {
    pub(super) fn new(limiter: L, settings: Settings) -> Self {
        Self {
            queue: Arc::new(LimitQueue::new(limiter, settings)),
            next_warning: AtomicU64::new(0),
            is_full: AtomicBool::new(false),
        }
    }

    /// Returns the queue for a call with a new key, while all `keys` keys are in use.
    pub(super) fn enter(
        &self,
        context: &CallContext,
        keys: usize,
        now: Moment,
    ) -> Arc<LimitQueue<L>> {
        let next = self.next_warning.load(Ordering::Relaxed);
        if now.as_nanos() >= next {
            let later = now.after(WARN_EVERY).map_or(u64::MAX, Moment::as_nanos);
            let relaxed = Ordering::Relaxed;
            let set = self
                .next_warning
                .compare_exchange(next, later, relaxed, relaxed);
            if set.is_ok() {
                tracing::warn!(
                    tool = context.tool(),
                    call_id = %context.id(),
                    keys,
                    "all keys of a limit are in use: new keys share one limit"
                );
            }
        }
        Arc::clone(&self.queue)
    }

    /// Records that a new key found no room. Returns whether the one before it did.
    pub(super) fn begin(&self) -> bool {
        !self.is_full.swap(true, Ordering::Relaxed)
    }

    /// Records that a new key found room.
    pub(super) fn end(&self) {
        if self.is_full.load(Ordering::Relaxed) {
            self.is_full.store(false, Ordering::Relaxed);
        }
    }

    /// Returns the queue if a call has used it.
    pub(super) fn used(&self) -> Option<&Arc<LimitQueue<L>>> {
        let used = self.next_warning.load(Ordering::Relaxed) != 0;
        used.then_some(&self.queue)
    }

    pub(super) const fn queue(&self) -> &Arc<LimitQueue<L>> {
        &self.queue
    }
}
