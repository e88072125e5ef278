use std::sync::Arc;
use std::time::Duration;

use tower_layer::Layer;

use super::Timeout;
use super::limits::{Limits, More};
use crate::middleware::{ConfigError, PerTool};

/// Cuts a call that takes too long. See the [module](super).
#[derive(Debug, Clone)]
pub struct TimeoutLayer {
    limits: Arc<Limits>,
}

// === impl TimeoutLayer ===

impl TimeoutLayer {
    /// The time that a call may take in all, waits and streamed answer included: one for all tools,
    /// or by tool; `None` or [`Duration::MAX`] is no limit. [`Duration::ZERO`] lets pass only an answer that is ready at the first poll.
    #[must_use]
    pub fn new(limits: impl Into<PerTool<Duration>>) -> Self {
        Self {
            limits: Arc::new(Limits::new(limits.into())),
        }
    }

    /// As [`new`](Self::new), for limits that come from a configuration.
    ///
    /// # Errors
    /// [`ConfigError::EndlessTimeout`] for [`Duration::MAX`], which is more likely a slip than a wish.
    pub fn try_new(limits: impl Into<PerTool<Duration>>) -> Result<Self, ConfigError> {
        let limits = limits.into();
        if limits.values().any(|limit| *limit == Duration::MAX) {
            return Err(ConfigError::EndlessTimeout(Duration::MAX));
        }
        Ok(Self::new(limits))
    }

    /// No limit of its own on the whole call: a call's own [`with_timeout`](crate::ToolCall::with_timeout) and
    /// [`with_deadline`](crate::ToolCall::with_deadline) are still enforced.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::new(PerTool::none())
    }

    /// The time that a call may go without a sign of life: a [heartbeat](crate::CallContext::heartbeat), a report of
    /// [progress](crate::CallContext::progress), something [emitted](crate::CallContext::emit), a
    /// [snapshot](crate::CallContext::snapshot), a streamed piece on its way to the consumer. One for all tools, or
    /// by tool; `None` or [`Duration::MAX`], as at first, is no limit.
    #[must_use]
    pub fn with_idle(self, limits: impl Into<PerTool<Duration>>) -> Self {
        let limits = limits.into();
        self.with(|more| more.idle = limits)
    }

    /// The time until the first item of the result: until something is emitted, published as a snapshot, or
    /// streamed, or the whole answer is there. Until then the idle limit does not hold. One for all tools, or by
    /// tool; `None` or [`Duration::MAX`], as at first, is no limit.
    #[must_use]
    pub fn with_first_item(self, limits: impl Into<PerTool<Duration>>) -> Self {
        let limits = limits.into();
        self.with(|more| more.first_item = limits)
    }

    /// The time behind a limit in which the tool, whose call is cancelled by then, may finish by itself; zero at
    /// first. The call has timed out all the same: what the tool answers, whole, is the partial result of that
    /// error; what it fails with is its source. A streamed answer is cut at the limit.
    ///
    /// It never goes beyond the caller's deadline or a limit on the whole call further out. While it runs, permits
    /// taken further in are held.
    #[must_use]
    pub fn with_grace(self, grace: Duration) -> Self {
        self.with(|more| more.grace = grace)
    }

    fn with(mut self, set: impl FnOnce(&mut More)) -> Self {
        set(Arc::make_mut(&mut self.limits).more());
        self
    }
}

impl<S> Layer<S> for TimeoutLayer {
    type Service = Timeout<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Timeout::new(inner, Arc::clone(&self.limits))
    }
}
