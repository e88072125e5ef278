//! Instants as numbers, so that they fit an atomic.

use std::sync::LazyLock;
use std::time::Duration;

use tokio::time::Instant;

/// A day before the first use: instants of paused clocks that began a little earlier still are after it.
static EPOCH: LazyLock<Instant> = LazyLock::new(|| {
    let now = Instant::now();
    now.checked_sub(Duration::from_secs(24 * 3_600))
        .unwrap_or(now)
});

/// Nanoseconds since the epoch, never 0, which stands for no instant.
pub(super) fn nanos(instant: Instant) -> u64 {
    length(instant.saturating_duration_since(*EPOCH)).max(1)
}

/// The instant that [`nanos`] made a number of.
pub(super) fn instant(nanos: u64) -> Instant {
    *EPOCH + Duration::from_nanos(nanos)
}

/// Nanoseconds, at most as many as 292 years have.
pub(super) fn length(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).map_or(MAX_LENGTH, |nanos| nanos.min(MAX_LENGTH))
}

const MAX_LENGTH: u64 = u64::MAX >> 1;
