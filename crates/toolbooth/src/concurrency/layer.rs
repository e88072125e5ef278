use std::sync::Arc;
use std::time::Duration;

use tower_layer::Layer;

use super::ConcurrencyLimit;
use super::permits::Permits;
use crate::line::Line;
use crate::shell::ConfigError;

/// Lets so many calls run at once; the others wait in line. See the [module](super).
///
/// Clones share one limit, and so do all services that one value was applied to.
#[derive(Debug, Clone)]
pub struct ConcurrencyLimitLayer {
    line: Option<Arc<Line<Permits>>>,
}

// === impl ConcurrencyLimitLayer ===

impl ConcurrencyLimitLayer {
    /// At most `limit` calls at once; `None` is no limit; 0 is closed: every call is refused.
    #[must_use]
    pub fn new(limit: impl Into<Option<usize>>) -> Self {
        Self {
            line: limit
                .into()
                .map(|limit| Arc::new(Line::new(Permits::new(limit)))),
        }
    }

    /// As [`new`](Self::new), for limits that come from a configuration.
    ///
    /// # Errors
    /// [`ConfigError::ZeroLimit`] for 0.
    pub fn try_new(limit: impl Into<Option<usize>>) -> Result<Self, ConfigError> {
        match limit.into() {
            Some(0) => Err(ConfigError::ZeroLimit),
            limit => Ok(Self::new(limit)),
        }
    }

    /// How many calls may wait, for all clones of this value: 1,024 where nothing is said, and with 0 a call that finds no
    /// permit is refused at once. One more is refused as `Overloaded`.
    #[must_use]
    pub fn with_queue_capacity(self, calls: usize) -> Self {
        if let Some(line) = &self.line {
            line.set_capacity(calls);
        }
        self
    }

    /// How long a call may wait, for all clones of this value, before it is refused as `Overloaded`; as long as its deadline allows where nothing is said.
    #[must_use]
    pub fn with_max_wait(self, max_wait: Duration) -> Self {
        if let Some(line) = &self.line {
            line.set_max_wait(max_wait);
        }
        self
    }

    /// How many permits are free; `usize::MAX` without a limit.
    #[must_use]
    pub fn available(&self) -> usize {
        self.line.as_ref().map_or(usize::MAX, |line| {
            line.rule().limit() - line.rule().in_flight()
        })
    }

    /// How many calls hold a permit. Not counted without a limit.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.line.as_ref().map_or(0, |line| line.rule().in_flight())
    }

    /// How many calls wait for a permit.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.line.as_ref().map_or(0, |line| line.queued())
    }
}

impl<S> Layer<S> for ConcurrencyLimitLayer {
    type Service = ConcurrencyLimit<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ConcurrencyLimit::new(inner, self.line.clone())
    }
}
