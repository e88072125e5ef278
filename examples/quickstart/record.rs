//! The record of one call, an extension of its context.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use toolbooth::{CallContext, Outcome, Registered};

#[derive(Debug, Default)]
pub(crate) struct Record {
    waited: OnceLock<Duration>,
    outcome: OnceLock<Outcome>,
    hooks_registered: AtomicU64,
    hooks_run: AtomicU64,
}

// === impl Record ===

impl Record {
    /// Returns the record of a call.
    pub(crate) fn of(call: &CallContext) -> Arc<Self> {
        call.extension::<Arc<Self>>().cloned().unwrap_or_default()
    }

    /// Records the wait of the call, at the start of the tool.
    pub(crate) fn started(call: &CallContext) {
        // Set once, by the first attempt.
        let _ = Self::of(call).waited.set(call.elapsed());
    }

    /// Registers a hook, which is counted when it is registered and when it has completed.
    pub(crate) fn on_cleanup<Fut>(
        self: &Arc<Self>,
        call: &CallContext,
        hook: impl FnOnce(Outcome) -> Fut + Send + 'static,
    ) where
        Fut: Future<Output = ()> + Send,
    {
        let record = Arc::clone(self);
        let registered = call.on_cleanup(async move |outcome| {
            hook(outcome).await;
            record.hooks_run.fetch_add(1, Ordering::AcqRel);
        });
        if registered == Registered::Held {
            self.hooks_registered.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Records the outcome that was passed to a hook.
    pub(crate) fn set_outcome(&self, outcome: Outcome) {
        let _ = self.outcome.set(outcome);
    }

    pub(crate) fn waited(&self) -> Option<Duration> {
        self.waited.get().copied()
    }

    pub(crate) fn outcome(&self) -> Option<Outcome> {
        self.outcome.get().copied()
    }

    pub(crate) fn hooks_registered(&self) -> u64 {
        self.hooks_registered.load(Ordering::Acquire)
    }

    pub(crate) fn hooks_run(&self) -> u64 {
        self.hooks_run.load(Ordering::Acquire)
    }
}
