use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use toolbooth_core::LayerName;
use tower_layer::Layer;

use super::Cleanup;
use super::runner::Runner;
use crate::middleware::tracker::{DrainReport, Tracker};
use crate::middleware::{DEFAULT_RETRY_AFTER, layer_name};

/// Runs the hooks that calls registered with [`on_cleanup`](crate::CallContext::on_cleanup). See
/// the [module](super).
///
/// The `with_*` methods configure this value alone. Clones share the counts and
/// [`drain`](Self::drain).
#[derive(Clone)]
pub struct CleanupLayer {
    pub(super) runner: Option<Arc<Runner>>,
    pub(super) wait: Option<Duration>,
    pub(super) retry_after: Duration,
    pub(super) name: LayerName,
}

// === impl CleanupLayer ===

impl CleanupLayer {
    /// Runs hooks on their own tasks, each for at most 5 s.
    #[must_use]
    pub fn new() -> Self {
        Self {
            runner: Some(Arc::default()),
            wait: None,
            retry_after: DEFAULT_RETRY_AFTER,
            name: LayerName::new("cleanup"),
        }
    }

    /// Creates a layer that runs no hooks. The next outer layer runs them.
    #[must_use]
    pub const fn off() -> Self {
        Self {
            runner: None,
            wait: None,
            retry_after: DEFAULT_RETRY_AFTER,
            name: LayerName::new("cleanup"),
        }
    }

    /// Limits how long each hook may run. At the limit it is dropped and counts as failed.
    #[must_use]
    pub fn with_hook_limit(mut self, limit: Duration) -> Self {
        self.runner = self.runner.map(|runner| Arc::new(runner.with_limit(limit)));
        self
    }

    /// Delays the response, and with it a retry outside, until the hooks have ended, for at most
    /// `limit`.
    ///
    /// After that the hooks continue on their task. A streaming response is returned at once, and
    /// its end waits for no hook.
    #[must_use]
    pub const fn with_wait(mut self, limit: Duration) -> Self {
        self.wait = Some(limit);
        self
    }

    /// Sets after which time a call may be tried again that the [closed](Self::close) layer
    /// rejects: in HTTP, the value of `Retry-After`. The default is 5 s.
    #[must_use]
    pub const fn with_retry_after(mut self, retry_after: Duration) -> Self {
        self.retry_after = retry_after;
        self
    }

    /// Rejects calls from now on, for all clones of this value, so that a [`drain`](Self::drain)
    /// ends.
    ///
    /// The error is [`Overloaded`](crate::ToolError::Overloaded) with
    /// [`OverloadReason::ShuttingDown`](crate::OverloadReason::ShuttingDown): in HTTP a 503 with
    /// [`Retry-After`](Self::with_retry_after). Calls that have started continue, with the
    /// [calls that they make](crate::CallContext::child). It cannot be undone. The
    /// [off value](Self::off) rejects no calls.
    ///
    /// To end the calls that run, too, use a [`ShutdownLayer`](crate::ShutdownLayer).
    pub fn close(&self) {
        if let Some(runner) = &self.runner {
            runner.close();
        }
    }

    /// Returns whether the layer was [closed](Self::close).
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.runner
            .as_ref()
            .is_some_and(|runner| runner.is_closed())
    }

    /// Returns how many hooks have ended so far, and how.
    #[must_use]
    pub fn report(&self) -> DrainReport {
        self.tracker()
            .map_or_else(DrainReport::default, Tracker::report)
    }

    /// Waits until all hooks of calls that have ended are done, and the blocking work that outlived
    /// its call, for at most `limit`.
    ///
    /// At the limit the remaining hooks are cancelled and count as abandoned; they have 10 ms to
    /// end. Use it for shutdown: after the calls have ended or were dropped, and before the runtime
    /// is dropped.
    ///
    /// The layer remains usable unless it was [closed](Self::close): hooks of calls that end later
    /// run, and another drain waits for them.
    ///
    /// # Cancel safety
    /// Safe: dropping the future cancels no hook.
    pub async fn drain(&self, limit: Duration) -> DrainReport {
        match self.tracker() {
            Some(tracker) => tracker.drain(limit).await,
            None => DrainReport::default(),
        }
    }

    /// Returns the runner of a new call: its own, if its response waits for the hooks.
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

/// Shows the name, the wait of a response, whether it was closed, and how hooks ended.
impl fmt::Debug for CleanupLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CleanupLayer")
            .field("name", &self.name)
            .field("wait", &self.wait)
            .field("closed", &self.is_closed())
            .field("report", &self.report())
            .finish_non_exhaustive()
    }
}

layer_name!(CleanupLayer, name, "cleanup");

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
