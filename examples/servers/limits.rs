use std::num::NonZeroU32;
use std::time::Duration;

use toolbooth::{CleanupLayer, ConcurrencyLimitLayer, Quota, RateLimitLayer, TimeoutLayer};

/// One value of each layer. All routes and methods that it wraps, in any number of servers, share
/// these limits. A route with its own limits needs its own value.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// Limits the call up to the last byte of its response.
    pub timeout: TimeoutLayer,
    /// Rejects calls without a token instead of queueing them.
    pub rate: RateLimitLayer,
    /// Limits concurrent calls. A call holds its permit up to the last byte of its response.
    pub at_once: ConcurrencyLimitLayer,
    /// Runs the hooks of handlers. On shutdown, the server waits for them.
    pub cleanup: CleanupLayer,
}

/// The layers of [`Limits`] from outside to inside. The tuple is a layer itself.
pub type Layers = (
    TimeoutLayer,
    RateLimitLayer,
    ConcurrencyLimitLayer,
    CleanupLayer,
);

// === impl Limits ===

impl Limits {
    /// Makes a timeout of 500 ms, a rate of 100 calls a second with a burst of 20, and a limit of 2
    /// concurrent calls without a queue.
    #[must_use]
    pub fn new() -> Self {
        const PER_SECOND: NonZeroU32 = NonZeroU32::new(100).expect("not 0");
        const BURST: NonZeroU32 = NonZeroU32::new(20).expect("not 0");
        let quota = Quota::per_second(PER_SECOND).allow_burst(BURST);
        Self {
            timeout: TimeoutLayer::new(Duration::from_millis(500)),
            rate: RateLimitLayer::new(quota).reject(),
            at_once: ConcurrencyLimitLayer::new(2).with_queue_capacity(0),
            cleanup: CleanupLayer::new(),
        }
    }

    /// Returns all layers, for a route or a method.
    #[must_use]
    pub fn layers(&self) -> Layers {
        (
            self.timeout.clone(),
            self.rate.clone(),
            self.at_once.clone(),
            self.cleanup.clone(),
        )
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}
