use std::time::Duration;

use tokio::time::Instant;

/// So many milliseconds.
#[must_use]
pub const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Time since the start of a test, by tokio's clock.
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
    /// Starts at zero.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since then.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// Waits until it shows `time`.
    ///
    /// A paused clock moves on only when every task waits: so whatever could happen before `time` has happened.
    pub async fn until(&self, time: Duration) {
        tokio::time::sleep_until(self.0 + time).await;
    }
}
