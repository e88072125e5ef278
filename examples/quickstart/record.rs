//! What is written down about one call while it runs. It travels with the call, as an extension.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use toolbooth::{CallContext, Outcome, Registered};

#[derive(Debug, Default)]
pub(crate) struct Record {
    waited: OnceLock<Duration>,
    outcome: OnceLock<Outcome>,
    hooks_held: AtomicU64,
    hooks_run: AtomicU64,
}

// === impl Record ===

impl Record {
    /// The record of a call, for its tool.
    pub(crate) fn of(call: &CallContext) -> Arc<Self> {
        call.extension::<Arc<Self>>().cloned().unwrap_or_default()
    }

    /// Says in the tool's first line how long the call has waited for it to start.
    pub(crate) fn started(call: &CallContext) {
        // Set once: the first attempt's wait is the one that counts.
        let _ = Self::of(call).waited.set(call.elapsed());
    }

    /// Registers a hook that is counted when it is held, and when it has run to its end.
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
            self.hooks_held.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Says how the call ended, as a hook was told.
    pub(crate) fn ended(&self, outcome: Outcome) {
        let _ = self.outcome.set(outcome);
    }

    pub(crate) fn waited(&self) -> Option<Duration> {
        self.waited.get().copied()
    }

    pub(crate) fn outcome(&self) -> Option<Outcome> {
        self.outcome.get().copied()
    }

    pub(crate) fn hooks_held(&self) -> u64 {
        self.hooks_held.load(Ordering::Acquire)
    }

    pub(crate) fn hooks_run(&self) -> u64 {
        self.hooks_run.load(Ordering::Acquire)
    }
}
