use std::sync::Arc;
use std::time::Duration;

use tower_layer::Layer;

use super::Cleanup;
use super::runner::Runner;
use super::tracker::{DrainReport, Tracker};

/// Runs what calls registered with [`on_cleanup`](crate::CallContext::on_cleanup). See the [module](super).
#[derive(Debug, Clone)]
pub struct CleanupLayer {
    pub(super) runner: Option<Arc<Runner>>,
    pub(super) wait: Option<Duration>,
}

// === impl CleanupLayer ===

impl CleanupLayer {
    /// Runs hooks on tasks of their own, each for 5 s at most.
    #[must_use]
    pub fn new() -> Self {
        Self {
            runner: Some(Arc::default()),
            wait: None,
        }
    }

    /// Runs no hooks: the off value. They fall to the next layer further out.
    #[must_use]
    pub const fn off() -> Self {
        Self {
            runner: None,
            wait: None,
        }
    }

    /// How long each hook may run; then it is stopped and counts as failed.
    #[must_use]
    pub fn with_hook_limit(mut self, limit: Duration) -> Self {
        self.runner = self.runner.map(|runner| Arc::new(runner.with_limit(limit)));
        self
    }

    /// Lets the answer, and with it a retry outside, wait for the hooks, for so long at most. Past that they go on
    /// without anybody waiting. A streamed answer is returned at once, and its end waits for no hook.
    #[must_use]
    pub const fn with_wait(mut self, limit: Duration) -> Self {
        self.wait = Some(limit);
        self
    }

    /// Takes no more calls: each is refused with [`Cancelled`](crate::ToolError::Cancelled) and
    /// [`CancelReason::Shutdown`](crate::CancelReason::Shutdown), so that a [`drain`](Self::drain) comes to an end. For
    /// all clones of this value, and for good. Calls that have begun go on. The [off value](Self::off) takes every call.
    pub fn close(&self) {
        if let Some(tracker) = self.tracker() {
            tracker.close();
        }
    }

    /// Whether it was [closed](Self::close).
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.tracker().is_some_and(Tracker::is_closed)
    }

    /// What became of the hooks so far.
    #[must_use]
    pub fn report(&self) -> DrainReport {
        self.tracker()
            .map_or_else(DrainReport::default, Tracker::report)
    }

    /// Waits until all hooks of calls that have ended are done, and so is the blocking work that outlived its call, for `limit` at most; hooks that are
    /// not are stopped, for which they have some 10 ms, and count as abandoned. For shutdown: after the calls have ended or were dropped, before the runtime is.
    ///
    /// The layer goes on as before, unless it was [closed](Self::close): hooks of calls that end later run, and another drain waits for them.
    ///
    /// # Cancel safety
    /// Safe: dropping the future stops no hook.
    pub async fn drain(&self, limit: Duration) -> DrainReport {
        match self.tracker() {
            Some(tracker) => tracker.drain(limit).await,
            None => DrainReport::default(),
        }
    }

    /// Who runs the hooks of a call that comes now.
    #[inline(always)]
    pub(super) fn runner_of_call(&self) -> Option<Arc<Runner>> {
        let runner = self.runner.as_ref()?;
        Some(match self.wait {
            Some(limit) => Arc::new(runner.with_wait(limit)),
            None => Arc::clone(runner),
        })
    }

    fn tracker(&self) -> Option<&Tracker> {
        self.runner.as_ref().map(|runner| runner.tracker())
    }
}

impl Default for CleanupLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for CleanupLayer {
    type Service = Cleanup<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Cleanup::new(inner, self.clone())
    }
}
