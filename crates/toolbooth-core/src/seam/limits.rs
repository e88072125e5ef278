//! What limits on calls need of a call: permits, and whether the call was held back.

use std::sync::Arc;

use super::Part;
use crate::call::{AdjustCost, LimitId, Name, Pass};
use crate::error::{LayerName, Waited};

// === impl Part ===

impl Part {
    /// Returns whether an outer layer [holds](Self::hold) a permit of `limit`, or has
    /// [counted](Self::count_once) its attempt, so that this call need not acquire one.
    ///
    /// Outer are the layers around this one in the same attempt, those around the attempt, such as
    /// outside of a retry, and those of the calls that made this call.
    #[must_use]
    #[inline]
    pub fn inherits(&self, limit: LimitId) -> bool {
        let attempt = self.context.attempt_state();
        attempt.inherits_limit(limit, self.depth)
    }

    /// Records that this layer holds a permit of `limit`, which everything inside
    /// [inherits](Self::inherits): inner layers, attempts, and
    /// [child calls](crate::CallContext::child).
    ///
    /// [Blocking tasks](crate::CallContext::spawn_blocking) keep the permit until they have ended.
    #[inline]
    pub fn hold(&self, limit: LimitId) {
        let attempt = self.context.attempt_state();
        attempt.record_limit(limit, self.depth, Pass::Permit);
    }

    /// As [`hold`](Self::hold), for a permit that everything keeps that outlives the call: also its
    /// cleanup hooks, its tasks, and what
    /// [keeps permits](crate::CallContext::keep_permits), such as a
    /// process.
    #[inline]
    pub fn hold_until_ended(&self, limit: LimitId) {
        let attempt = self.context.attempt_state();
        attempt.record_limit(limit, self.depth, Pass::PermitUntilEnded);
    }

    /// Releases the permit that this layer [holds](Self::hold): drops it now, or when all work that
    /// keeps it has ended. Call it at the [end](Self::end).
    ///
    /// Returns true if hooks keep it that layers outside have yet to run. Other attempts of the
    /// call inherit it until then. Those that wait for a permit by now are to look again: use
    /// [`release_permit_and_wake`](Self::release_permit_and_wake) for a limit that has waiters.
    #[inline]
    pub fn release_permit<T: Send + 'static>(&self, limit: LimitId, permit: T) -> bool {
        self.release_permit_and_wake(limit, permit, || ())
    }

    /// As [`release_permit`](Self::release_permit), with what wakes the calls that wait for the
    /// limit. It is called when an attempt of this call may have come to inherit the permit.
    #[inline]
    pub fn release_permit_and_wake<T: Send + 'static>(
        &self,
        limit: LimitId,
        permit: T,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> bool {
        let attempt = self.context.attempt_state();
        attempt.release_limit(limit, self.depth, permit, wake)
    }

    /// Removes the record of this layer, if there is no permit to drop.
    #[inline]
    pub fn release(&self, limit: LimitId) {
        self.release_permit(limit, ());
    }

    /// Returns whether hooks, tasks, blocking work or nested calls may outlive the call. False for
    /// a call that has started none.
    #[must_use]
    #[inline]
    pub fn may_be_outlived(&self) -> bool {
        self.context.attempt_state().has_state()
    }

    /// Counts this attempt for `limit`. Returns false if an outer layer of the same attempt has
    /// counted it.
    ///
    /// For what counts each attempt once, such as the tokens of a rate limit. Other attempts and
    /// child calls are counted on their own.
    #[must_use]
    #[inline]
    pub fn count_once(&self, limit: LimitId) -> bool {
        let attempt = self.context.attempt_state();
        if self.depth > 1 && attempt.has_limit(limit) {
            return false;
        }
        attempt.record_limit(limit, self.depth, Pass::Counted);
        true
    }

    /// Registers what the limit of this name charged this attempt, for
    /// [`CallContext::adjust_cost`](crate::CallContext::adjust_cost).
    pub fn register_cost(&self, limit: impl Into<Name>, cost: Arc<dyn AdjustCost>) {
        let attempt = self.context.attempt_state();
        attempt.register_cost(limit.into(), self.depth, cost);
    }

    /// Records that the call queues here or is rejected, before anything inside starts.
    pub fn hold_back(&self) {
        self.context.attempt_state().set_held_back(true);
    }

    /// Records the limit in whose queue the call waits when it ends, for the error of a timeout
    /// outside.
    pub fn set_queue(&self, queue: &LayerName) {
        let waited = Waited::Queue(queue.clone());
        self.context.attempt_state().set_waited(waited);
    }

    /// Records that the call no longer queues here.
    pub fn mark_admitted(&self) {
        self.context.attempt_state().set_held_back(false);
    }

    /// Returns whether layers inside [held back](Self::hold_back) every attempt of the call, so
    /// that its tool was not called.
    #[must_use]
    #[inline]
    pub fn is_held_back(&self) -> bool {
        self.context.attempt_state().is_held_back()
    }

    /// As [`is_held_back`](Self::is_held_back), for the latest attempt alone: an earlier one may
    /// have called the tool.
    #[must_use]
    pub fn is_latest_held_back(&self) -> bool {
        self.context.attempt_state().is_latest_held_back()
    }

    /// Calls `each` for every blocking job that outlives the call, and keeps its result until the
    /// job has ended and its permits are released.
    #[inline]
    pub fn count_blocking<T: Send + 'static>(&self, each: impl FnMut() -> T) {
        self.context.attempt_state().count_blocking(each);
    }
}
