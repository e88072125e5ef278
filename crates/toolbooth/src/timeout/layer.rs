use std::sync::Arc;
use std::time::Duration;

use tower_layer::Layer;

use super::Timeout;
use crate::shell::{ConfigError, PerTool};

/// Cuts a call that takes too long. See the [module](super).
#[derive(Debug, Clone)]
pub struct TimeoutLayer {
    limits: Arc<PerTool<Duration>>,
}

// === impl TimeoutLayer ===

impl TimeoutLayer {
    /// The time that a call may take in all, waits and streamed answer included: one for all tools,
    /// or by tool; `None` or [`Duration::MAX`] is no limit. [`Duration::ZERO`] lets pass only an answer that is ready at the first poll.
    #[must_use]
    pub fn new(limits: impl Into<PerTool<Duration>>) -> Self {
        Self {
            limits: Arc::new(limits.into()),
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

    /// No limit of its own: a call's own [`with_timeout`](crate::ToolCall::with_timeout) and
    /// [`with_deadline`](crate::ToolCall::with_deadline) are still enforced.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::new(PerTool::none())
    }
}

impl<S> Layer<S> for TimeoutLayer {
    type Service = Timeout<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Timeout::new(inner, Arc::clone(&self.limits))
    }
}
