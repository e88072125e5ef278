use std::sync::Arc;
use std::time::Duration;

use governor::Quota;
use toolbooth_core::Moment;
use tower_layer::Layer;

use super::RateLimit;
use super::gcra::Gcra;
use crate::line::Line;

/// Lets so many calls start in a time; the others wait for their turn, or are refused. See the [module](super).
///
/// Clones share one bucket, and so do all services that one value was applied to.
#[derive(Debug, Clone)]
pub struct RateLimitLayer {
    line: Option<Arc<Line<Gcra>>>,
    reject: bool,
}

// === impl RateLimitLayer ===

impl RateLimitLayer {
    /// Calls start by `quota`; `None` is no limit. A call that finds no token waits for one.
    #[must_use]
    pub fn new(quota: impl Into<Option<Quota>>) -> Self {
        Self {
            line: quota
                .into()
                .map(|quota| Arc::new(Line::new(Gcra::new(quota)))),
            reject: false,
        }
    }

    /// Refuses a call that finds no token, as `RateLimited`, with the time after which there is one.
    #[must_use]
    pub const fn reject(mut self) -> Self {
        self.reject = true;
        self
    }

    /// Lets a call that finds no token wait for one, in the order of first polls. This is the default.
    #[must_use]
    pub const fn wait(mut self) -> Self {
        self.reject = false;
        self
    }

    /// How many calls may wait, for all clones of this value: 1,024 where nothing is said. One more is refused as `Overloaded`.
    #[must_use]
    pub fn with_queue_capacity(self, calls: usize) -> Self {
        if let Some(line) = &self.line {
            line.set_capacity(calls);
        }
        self
    }

    /// How long a call may wait, for all clones of this value. One whose token would come later is refused at once, as
    /// `RateLimited`; as long as its deadline allows where nothing is said.
    #[must_use]
    pub fn with_max_wait(self, max_wait: Duration) -> Self {
        if let Some(line) = &self.line {
            line.set_max_wait(max_wait);
        }
        self
    }

    /// How many calls could start at this moment; `u32::MAX` without a limit.
    #[must_use]
    pub fn remaining(&self) -> u32 {
        self.line
            .as_ref()
            .map_or(u32::MAX, |line| line.rule().remaining(Moment::now()))
    }

    /// How many calls wait for a token.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.line.as_ref().map_or(0, |line| line.queued())
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimit<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit::new(inner, self.line.clone(), self.reject)
    }
}
