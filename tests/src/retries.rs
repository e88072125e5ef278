use std::pin::Pin;
use std::time::Duration;

use tokio::time::sleep;
use tower::retry::Policy;

/// Repeats a call after any error, up to a number of times.
///
/// Unlike `toolbooth::RetryPolicy` it decides nothing about the error: tests use it to make later
/// attempts of calls that ended in whatever way.
#[derive(Debug, Clone)]
pub struct Retries {
    left: u32,
    delay: Duration,
}

// === impl Retries ===

impl Retries {
    /// Makes up to `retries` more attempts, each at once.
    #[must_use]
    pub const fn new(retries: u32) -> Self {
        Self {
            left: retries,
            delay: Duration::ZERO,
        }
    }

    /// Waits before each further attempt.
    #[must_use]
    pub const fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

impl<R: Clone, T, E> Policy<R, T, E> for Retries {
    type Future = Pin<Box<dyn Future<Output = ()> + Send>>;

    fn retry(&mut self, _: &mut R, result: &mut Result<T, E>) -> Option<Self::Future> {
        self.left = self.left.checked_sub(1).filter(|_| result.is_err())?;
        let delay = self.delay;
        Some(Box::pin(async move {
            if !delay.is_zero() {
                sleep(delay).await;
            }
        }))
    }

    fn clone_request(&mut self, request: &R) -> Option<R> {
        Some(request.clone())
    }
}
