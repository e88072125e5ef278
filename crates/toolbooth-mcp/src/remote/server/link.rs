//! The state of the connection to a server, and when the next attempt to connect may be made.
//!
//! ```text
//! Connected --lost--> Away --a call, after the backoff--> Connecting --> Connected
//!                      ^                                      |
//!                      +---------------failed-----------------+
//! any --close--> Closed
//! ```
//!
//! The backoff is decided here, without async and with the time as an argument.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::remote::RemoteError;
use crate::remote::connection::Connection;

/// A connection that lasted for this long was not lost because of its beginning.
const STABLE: Duration = Duration::from_secs(10);

/// The result of an attempt to connect, for all calls that wait for it.
pub(super) type Attempt = watch::Receiver<Option<Result<Arc<Connection>, RemoteError>>>;

pub(super) enum Link {
    Connected(Arc<Connection>),
    Connecting(Attempt),
    /// A call may connect from then on.
    Away(Instant),
    Closed,
}

/// Failed attempts and short connections in a row.
#[derive(Debug, Default)]
pub(super) struct Streak(u32);

// === impl Streak ===

impl Streak {
    /// Records that a connection was lost after this time.
    pub(super) fn lost(&mut self, lasted: Duration) {
        if lasted >= STABLE {
            self.0 = 0;
        }
        self.failed();
    }

    /// Records that an attempt to connect failed.
    pub(super) const fn failed(&mut self) {
        self.0 = self.0.saturating_add(1);
    }

    /// Returns the wait before the next attempt: none the first time, then doubled from `min` to
    /// `max`. Up to one half is left out, by `jitter` from 0 to 1.
    pub(super) fn backoff(&self, min: Duration, max: Duration, jitter: f64) -> Duration {
        let Some(doublings) = self.0.checked_sub(2) else {
            return Duration::ZERO;
        };
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        let wait = min.saturating_mul(factor).min(max);
        wait.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(500);
    const MAX: Duration = Duration::from_secs(30);

    #[test]
    fn the_first_attempt_is_made_at_once_and_later_ones_wait_for_longer() {
        let mut streak = Streak::default();
        let mut waits = Vec::new();
        streak.lost(Duration::from_secs(3_600));
        for _ in 0..40 {
            waits.push(streak.backoff(MIN, MAX, 0.0).as_millis());
            streak.failed();
        }
        assert_eq!(
            waits[..9],
            [0, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]
        );
        assert_eq!(waits[39], 30_000);
        assert_eq!(streak.backoff(MIN, MAX, 1.0), MAX / 2);
    }

    #[test]
    fn a_server_that_ends_soon_after_each_start_waits_as_one_that_does_not_start() {
        let mut streak = Streak::default();
        let mut lose = |lasted| {
            streak.lost(lasted);
            streak.backoff(MIN, MAX, 0.0)
        };
        let short = Duration::from_secs(1);
        let waits = [
            lose(short),
            lose(short),
            lose(short),
            lose(STABLE),
            lose(short),
        ];
        let second = Duration::from_secs(1);
        assert_eq!(waits, [Duration::ZERO, MIN, second, Duration::ZERO, MIN]);
    }
}
