use std::num::NonZeroU32;
use std::time::Duration;

use toolbooth::{CleanupLayer, ConcurrencyLimitLayer, Quota, RateLimitLayer, TimeoutLayer};

/// One value of each layer. Whatever it stands around, however many routes and methods in however many servers,
/// shares these limits; for a limit of its own, give a route a value of its own.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// For the whole call, to the last byte of its answer.
    pub timeout: TimeoutLayer,
    /// Refuses, rather than let a client wait for a token.
    pub rate: RateLimitLayer,
    /// A call holds its permit to the last byte of its answer.
    pub at_once: ConcurrencyLimitLayer,
    /// Runs what handlers register, and lets a server wait for it when it shuts down.
    pub cleanup: CleanupLayer,
}

/// The layers of [`Limits`] from outside to inside: as a tuple, one layer.
pub type Layers = (
    TimeoutLayer,
    RateLimitLayer,
    ConcurrencyLimitLayer,
    CleanupLayer,
);

// === impl Limits ===

impl Limits {
    /// Half a second for a call; 100 calls in a second, 20 of them at one moment; 2 at once, and nobody waits in line.
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

    /// All of them, to stand around a route or a method.
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
