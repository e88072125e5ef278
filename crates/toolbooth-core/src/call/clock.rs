use std::fmt;
use std::num::NonZeroU64;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The origin of [`Moment`]: a day before the first use, so that instants of paused clocks that
/// started a little earlier are after it.
static EPOCH: LazyLock<Instant> = LazyLock::new(|| {
    let now = Instant::now();
    now.checked_sub(Duration::from_secs(24 * 3_600))
        .unwrap_or(now)
});

/// An instant of tokio's clock in nanoseconds: cheap to compare, to add to, and to store in an
/// atomic.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(NonZeroU64);

/// A [`Moment`], or none, that threads share.
#[derive(Debug)]
pub(super) struct AtomicMoment(AtomicU64);

// === impl Moment ===

impl Moment {
    /// Reads the clock.
    #[must_use]
    pub fn now() -> Self {
        Self::from(Instant::now())
    }

    /// Returns the instant, for timers.
    #[must_use]
    pub fn instant(self) -> Instant {
        *EPOCH + Duration::from_nanos(self.as_nanos())
    }

    /// Returns the moment that is `duration` later, or `None` if that is centuries away.
    #[must_use]
    #[inline]
    pub fn after(self, duration: Duration) -> Option<Self> {
        let moment = self.0.checked_add(nanos(duration)?)?;
        (moment.get() <= MAX).then_some(Self(moment))
    }

    /// Returns the time from `earlier` to this moment, or zero if `earlier` is the later one.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.as_nanos().saturating_sub(earlier.as_nanos()))
    }

    /// Returns the nanoseconds since an origin before the process's first call.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0.get()
    }

    /// Creates a moment from [`as_nanos`](Self::as_nanos), capped at some centuries.
    #[must_use]
    pub fn from_nanos(nanos: u64) -> Self {
        Self(NonZeroU64::new(nanos.min(MAX)).unwrap_or(NonZeroU64::MIN))
    }
}

/// Returns the nanoseconds in 64 bits, which are cheaper than the 128 of `Duration::as_nanos`.
#[inline]
pub(super) fn nanos(duration: Duration) -> Option<u64> {
    let seconds = duration.as_secs().checked_mul(NANOS_PER_SECOND)?;
    seconds.checked_add(u64::from(duration.subsec_nanos()))
}

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// 292 years: `Instant + Duration` does not overflow below it.
const MAX: u64 = u64::MAX >> 1;

impl From<Instant> for Moment {
    fn from(instant: Instant) -> Self {
        let since = instant.saturating_duration_since(*EPOCH);
        Self::from_nanos(nanos(since).unwrap_or(MAX))
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.instant().fmt(f)
    }
}

// === impl AtomicMoment ===

impl AtomicMoment {
    pub(super) const fn none() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(super) const fn new(moment: Moment) -> Self {
        Self(AtomicU64::new(moment.as_nanos()))
    }

    /// Returns the moment; 0 stands for none. The Acquire load pairs with the Release in `set`.
    #[inline]
    pub(super) fn get(&self) -> Option<Moment> {
        NonZeroU64::new(self.0.load(Ordering::Acquire)).map(Moment)
    }

    #[inline]
    pub(super) fn set(&self, moment: Option<Moment>) {
        self.0
            .store(moment.map_or(0, Moment::as_nanos), Ordering::Release);
    }
}
