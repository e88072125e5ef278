use crate::call::{CallContext, KeptPermits};
use crate::outcome::CancelReason;

/// The inside of a layer that runs its inner service on a task.
#[derive(Debug)]
pub struct TaskScope {
    context: CallContext,
    depth: u32,
}

// === impl TaskScope ===

impl TaskScope {
    /// Enters a task inside of the layers that the call has entered. Call it before the task
    /// starts.
    #[must_use]
    pub fn enter(context: &CallContext) -> Self {
        Self {
            depth: context.attempt_state().enter_task(),
            context: context.clone(),
        }
    }

    /// Makes cleanup wait for `stopped` before the first hook runs, since the call was cancelled
    /// and its task runs on until then. A cleanup layer inside of the task starts cleanup now.
    ///
    /// Returns the permits that the task keeps until it has stopped.
    pub fn outlived_by(&self, stopped: impl Future<Output = ()> + Send + 'static) -> KeptPermits {
        let permits = self.context.keep_permits();
        self.context.cleanup_waits_for(stopped);
        let reason = self.context.cancel_reason();
        let outcome = reason.unwrap_or(CancelReason::CallerGone).outcome();
        let attempt = self.context.attempt_state();
        attempt.run_hooks_inside(self.depth, outcome);
        permits
    }
}
