use std::time::Duration;

use tokio::time::Instant;

/// Returns a duration of `millis` milliseconds.
#[must_use]
pub const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Measures the time since its start on tokio's clock.
///
/// ```
/// use toolbooth_test::{Stopwatch, ms};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let watch = Stopwatch::start();
/// tokio::time::sleep(ms(250)).await;
/// assert_eq!(watch.elapsed(), ms(250));
/// watch.until(ms(1_000)).await;
/// assert_eq!(watch.elapsed(), ms(1_000));
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

// === impl Stopwatch ===

impl Stopwatch {
    /// Starts at 0.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Returns the time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// Waits until `time` has passed since the start.
    ///
    /// A paused clock moves only when every task waits. So everything that can happen before `time`
    /// has happened when this returns.
    pub async fn until(&self, time: Duration) {
        tokio::time::sleep_until(self.0 + time).await;
    }
}
