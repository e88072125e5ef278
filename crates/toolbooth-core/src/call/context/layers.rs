//! What layers read of a context, and tell each other by it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::CallContext;
use crate::call::Moment;
use crate::call::cleanup::{CleanupEnd, Hooks, RunHooks};
use crate::call::settings::Bound;
use crate::outcome::{CancelReason, Outcome};
use crate::response::Partial;

/// While it lives, its context answers [`CallContext::now`] without looking at the clock.
#[must_use = "the reading is carried until this is dropped"]
#[derive(Debug)]
pub struct Reading<'a>(Option<&'a CallContext>);

// === impl CallContext ===

impl CallContext {
    /// For layers: the reading of the clock that an outer layer carried here in this same
    /// synchronous stretch, or else a new one.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.attempt.now()
    }

    /// For layers: the limit by which the call is cut at the latest.
    #[must_use]
    pub fn bound(&self) -> Option<Bound> {
        self.attempt.bound()
    }

    /// For layers: the limit that the caller's own deadline is, if it has passed by `now`.
    #[inline]
    pub fn past_deadline(&self, now: impl FnOnce() -> Moment) -> Option<Bound> {
        let deadline = self.attempt.deadline()?;
        (deadline <= now()).then(|| self.attempt.bound_of_caller(deadline))
    }

    /// For what makes calls again: whether running this one twice does no more than running it once, where the caller said so or not so.
    #[must_use]
    pub fn idempotent(&self) -> Option<bool> {
        self.more()?.idempotent
    }

    /// For timeout layers: the limit that the caller gave this call.
    #[must_use]
    #[inline]
    pub fn timeout(&self) -> Option<Duration> {
        self.more()?.timeout
    }

    /// For layers that have [entered](Self::enter), or inside of one that has: whether this is the usual call, of which nobody
    /// said more than the tool's name and the call's id, and which nobody can cut from outside of all layers. It has no deadline, no limits and no
    /// priority of its own, no call made it, and it is the first attempt.
    #[must_use]
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.attempt.is_plain()
    }

    /// For layers: whether another layer stands around.
    #[must_use]
    #[inline]
    pub fn is_entered(&self) -> bool {
        self.attempt.is_entered()
    }

    /// For timeout layers: how long the caller lets this call be idle.
    #[must_use]
    #[inline]
    pub fn idle_timeout(&self) -> Option<Duration> {
        self.more()?.idle_timeout
    }

    /// For timeout layers: how long the caller waits for the first item of this call.
    #[must_use]
    #[inline]
    pub fn first_item_timeout(&self) -> Option<Duration> {
        self.more()?.first_item_timeout
    }

    /// For layers: whether a timeout layer stands around, which enforces [`bound`](Self::bound).
    #[must_use]
    pub fn is_timed(&self) -> bool {
        self.attempt.is_timed()
    }

    /// For timeout layers: takes note of one; true for the outermost.
    #[must_use]
    pub fn enter_timeout(&self) -> bool {
        self.attempt.enter_timeout()
    }

    /// For layers that run what is further in on a task: called before that starts. How many layers stand around the task.
    #[must_use]
    pub fn enter_task(&self) -> u32 {
        self.attempt.enter_task()
    }

    /// For layers that run what is further in on a task, with the depth that [`enter_task`](Self::enter_task) gave: it was
    /// cut, and goes on until the task has stopped. Cleanup waits for that before the first hook runs. Where a cleanup layer stands
    /// further in, it begins with this now, since its part of the call ends only with the task.
    pub fn outlived_by(&self, depth: u32, stopped: impl Future<Output = ()> + Send + 'static) {
        self.cleanup_waits_for(stopped);
        let reason = self.cancel_reason().unwrap_or(CancelReason::CallerGone);
        self.attempt.run_hooks_inside(depth, reason.outcome());
    }

    /// For layers and for tools that end something behind the call: cleanup waits for it, as for a hook, which takes no room
    /// among the [`MAX_HOOKS`](crate::MAX_HOOKS) of the call. Once for each attempt, since nothing else bounds it.
    pub fn cleanup_waits_for(&self, ended: impl Future<Output = ()> + Send + 'static) {
        self.attempt.register_ours(Box::new(|_| Box::pin(ended)));
    }

    /// For cleanup layers: where this call runs on a task, who runs its hooks [if the task outlives it](Self::outlived_by).
    pub fn run_hooks_with<R: RunHooks>(&self, runner: &Arc<R>) {
        self.attempt.run_hooks_with(runner);
    }

    /// For timeout layers: what is further in ends by `bound`.
    pub fn narrow(&self, bound: Bound) {
        self.attempt.narrow(bound);
    }

    /// For cleanup layers, at the end: the hooks registered so far, which are then theirs to run, and the tasks that were
    /// started, which are told to stop; `None` where there are neither.
    #[must_use]
    #[inline]
    pub fn take_hooks(&self) -> Option<Hooks> {
        self.attempt.take_hooks()
    }

    /// For cleanup layers: what hooks are told of a call that ended so.
    #[must_use]
    pub fn cleanup_end(&self, outcome: Outcome) -> CleanupEnd {
        self.attempt.cleanup_end(outcome)
    }

    /// For layers: what an error of this call takes along.
    #[must_use]
    pub fn kept(&self) -> Option<Arc<Partial>> {
        self.attempt.partials(|partials, _| partials.attach())
    }
}

// === impl Reading ===

impl<'a> Reading<'a> {
    /// Carries a reading to whatever is called meanwhile.
    pub(crate) fn carry(context: &'a CallContext, now: Moment) -> Self {
        context.attempt.carry_reading(Some(now));
        Self(Some(context))
    }

    /// Carries none.
    pub(crate) const fn none() -> Self {
        Self(None)
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        if let Some(context) = self.0 {
            context.attempt.carry_reading(None);
        }
    }
}
