use std::time::Duration;

use super::counting::{Counting, Failure};
use crate::middleware::ConfigError;

/// When a circuit breaker opens, for how long, and how it closes again.
///
/// ```
/// use std::time::Duration;
/// use toolbooth::{BreakerPolicy, CircuitBreakerLayer, ConfigError};
///
/// # fn main() -> Result<(), ConfigError> {
/// // Open when half of the last 20 calls failed, or one in ten of a minute's took longer than 2 s.
/// let policy = BreakerPolicy::new()
///     .with_failure_rate(0.5, 20)?
///     .with_slow_calls(Duration::from_secs(2), 0.1, Duration::from_secs(60))?
///     .with_open_time(Duration::from_secs(10))
///     .with_open_growth(2.0, Duration::from_secs(300))?;
/// let breaker = CircuitBreakerLayer::with_policy(policy);
/// # drop(breaker);
///
/// let slip = BreakerPolicy::new().with_failure_rate(50.0, 20);
/// assert_eq!(slip.err(), Some(ConfigError::RateOutOfRange));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct BreakerPolicy {
    pub(super) consecutive: Option<u32>,
    pub(super) failures: Option<Rate>,
    pub(super) slow: Option<(Duration, Rate)>,
    pub(super) minimum: u32,
    pub(super) open_time: Duration,
    pub(super) growth: Option<(f64, Duration)>,
    pub(super) probes: u32,
    pub(super) half_open_limit: Duration,
    pub(super) counting: Counting,
}

/// What a rate is over: the last so many calls, or those of the last while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Over {
    /// The last so many calls: the window slides with each of them.
    Calls(u32),
    /// The calls of the last while: the window slides by a tenth of it at a time.
    Time(Duration),
}

/// So many parts of a million, over a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    millionths: u32,
    pub(super) over: Over,
}

const DEFAULT_FAILURES: u32 = 5;
const DEFAULT_MINIMUM: u32 = 10;
const DEFAULT_OPEN_TIME: Duration = Duration::from_secs(30);
const DEFAULT_HALF_OPEN_LIMIT: Duration = Duration::from_secs(300);
/// As many calls as a window may hold: 125 kB.
const MOST_CALLS: u32 = 1_000_000;

// === impl BreakerPolicy ===

impl BreakerPolicy {
    /// Opens after 5 failures in a row, for 30 s; then one call at a time is let through, and the first answer closes it.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            consecutive: None,
            failures: None,
            slow: None,
            minimum: DEFAULT_MINIMUM,
            open_time: DEFAULT_OPEN_TIME,
            growth: None,
            probes: 1,
            half_open_limit: DEFAULT_HALF_OPEN_LIMIT,
            counting: Counting::new(),
        }
    }

    /// Opens after so many failures in a row. Where a rate is given and this is not, only the rate counts; where both are,
    /// whichever comes first.
    ///
    /// # Errors
    /// [`ConfigError::ZeroFailures`] for 0.
    pub fn with_consecutive_failures(mut self, failures: u32) -> Result<Self, ConfigError> {
        if failures == 0 {
            return Err(ConfigError::ZeroFailures);
        }
        self.consecutive = Some(failures);
        Ok(self)
    }

    /// Opens when this part of the calls failed: from 0 to 1, of the last so many calls or of those of the last while. A rate of 0 opens
    /// at the first failure. Nothing opens before [so many calls](Self::with_minimum_calls) were counted.
    ///
    /// # Errors
    /// [`ConfigError::RateOutOfRange`] for a rate that is not from 0 to 1; [`ConfigError::Window`] for a window of
    /// no calls, of no time, or of more than a million calls.
    pub fn with_failure_rate(
        mut self,
        rate: f64,
        over: impl Into<Over>,
    ) -> Result<Self, ConfigError> {
        self.failures = Some(Rate::new(rate, over.into())?);
        Ok(self)
    }

    /// Opens when this part of the calls was slow: took as long as `slow` or longer, from the breaker on to the last byte of the
    /// answer, whether or not it failed. The rate and its window are as those of
    /// [`with_failure_rate`](Self::with_failure_rate). While half-open, a slow probe is a failure.
    ///
    /// Time in waiting lines further in counts: put a concurrency or rate limit outside of the breaker if it is not to.
    ///
    /// # Errors
    /// As [`with_failure_rate`](Self::with_failure_rate), and [`ConfigError::ZeroSlow`] for a time of zero, which every call takes.
    pub fn with_slow_calls(
        mut self,
        slow: Duration,
        rate: f64,
        over: impl Into<Over>,
    ) -> Result<Self, ConfigError> {
        if slow.is_zero() {
            return Err(ConfigError::ZeroSlow);
        }
        self.slow = Some((slow, Rate::new(rate, over.into())?));
        Ok(self)
    }

    /// Rates count from so many calls on: 10 where nothing is said, and never more than the window holds. 0 is as 1.
    #[must_use]
    pub const fn with_minimum_calls(mut self, calls: u32) -> Self {
        self.minimum = calls;
        self
    }

    /// How long it stays open: 30 s where nothing is said. [`Duration::MAX`] is until it is [reset](crate::CircuitBreakerLayer::reset).
    #[must_use]
    pub const fn with_open_time(mut self, time: Duration) -> Self {
        self.open_time = time;
        self
    }

    /// Each time it opens again without having been closed, it stays open `factor` times as long as before, up to `max`.
    ///
    /// # Errors
    /// [`ConfigError::Growth`] for a factor below 1, or one that is no number.
    pub fn with_open_growth(mut self, factor: f64, max: Duration) -> Result<Self, ConfigError> {
        if !(factor.is_finite() && factor >= 1.0) {
            return Err(ConfigError::Growth);
        }
        self.growth = Some((factor, max));
        Ok(self)
    }

    /// How many calls are let through at once while it is half-open, and how many of them must succeed to close it: 1 where nothing is said.
    /// One that fails opens it again.
    ///
    /// # Errors
    /// [`ConfigError::ZeroProbes`] for 0, with which it would never close.
    pub fn with_probes(mut self, probes: u32) -> Result<Self, ConfigError> {
        if probes == 0 {
            return Err(ConfigError::ZeroProbes);
        }
        self.probes = probes;
        Ok(self)
    }

    /// How long probes may be under way without a break while it is half-open, from the first of them on: 5 min where nothing is said. Then one hangs, and
    /// counts as a failure. Give it more than the longest call takes, and with [several probes](Self::with_probes) more than that for each: a
    /// probe that is given up does not close the breaker when it succeeds after all.
    ///
    /// # Errors
    /// [`ConfigError::ZeroHalfOpenLimit`] for zero, with which it would never close.
    pub fn with_half_open_limit(mut self, limit: Duration) -> Result<Self, ConfigError> {
        if limit.is_zero() {
            return Err(ConfigError::ZeroHalfOpenLimit);
        }
        self.half_open_limit = limit;
        Ok(self)
    }

    /// Which failures count: all of them where nothing is said. What does not is a success, since the tool was there to answer.
    /// Asked of [failures](Failure) alone, not of refusals, panics and calls that were given up; a predicate that panics has said yes.
    ///
    /// ```
    /// use toolbooth::BreakerPolicy;
    /// use toolbooth::breaker::Failure;
    ///
    /// // A tool that says `not found` is well.
    /// let policy = BreakerPolicy::new().with_failures(|failure| match failure {
    ///     Failure::Response(answer) => answer.meta().is_none_or(|meta| meta["code"] != "not_found"),
    ///     _ => true,
    /// });
    /// # drop(policy);
    /// ```
    #[must_use]
    pub fn with_failures<F>(mut self, counts: F) -> Self
    where
        F: Fn(Failure<'_>) -> bool + Send + Sync + 'static,
    {
        self.counting.set_predicate(counts);
        self
    }

    /// Whether a panic of the tool is a failure: it is where nothing is said.
    #[must_use]
    pub const fn with_panics(mut self, count: bool) -> Self {
        self.counting.panics = count;
        self
    }

    /// Whether a call that its caller drops is a failure: it is not where nothing is said. A timeout outside that is none of ours
    /// drops its calls, too, and nobody can tell it from that.
    #[must_use]
    pub const fn with_drops(mut self, count: bool) -> Self {
        self.counting.drops = count;
        self
    }

    /// After how many failures in a row it opens, if that opens it.
    pub(super) const fn failures_in_a_row(&self) -> Option<u32> {
        match (self.consecutive, self.failures, self.slow) {
            (None, None, None) => Some(DEFAULT_FAILURES),
            (given, ..) => given,
        }
    }

    /// How long it stays open for the so manieth time in a row.
    pub(super) fn open_for(&self, trips: u32) -> Duration {
        let Some((factor, max)) = self.growth else {
            return self.open_time;
        };
        let times = i32::try_from(trips.saturating_sub(1)).unwrap_or(i32::MAX);
        let grown = self.open_time.as_secs_f64() * factor.powi(times);
        let grown = Duration::try_from_secs_f64(grown).unwrap_or(Duration::MAX);
        grown.min(max).max(self.open_time)
    }
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Over, Rate ===

impl From<u32> for Over {
    fn from(calls: u32) -> Self {
        Self::Calls(calls)
    }
}

impl From<Duration> for Over {
    fn from(time: Duration) -> Self {
        Self::Time(time)
    }
}

impl Rate {
    fn new(rate: f64, over: Over) -> Result<Self, ConfigError> {
        if !(0.0..=1.0).contains(&rate) {
            return Err(ConfigError::RateOutOfRange);
        }
        match over {
            Over::Calls(0) | Over::Time(Duration::ZERO) => return Err(ConfigError::Window),
            Over::Calls(calls) if calls > MOST_CALLS => return Err(ConfigError::Window),
            Over::Calls(_) | Over::Time(_) => {}
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a million at most, and no less than 0"
        )]
        let millionths = (rate * 1e6).round() as u32;
        Ok(Self { millionths, over })
    }

    /// Whether so many hits are as many as the rate says. In whole numbers: 0.55 of 100 calls is 55 of them.
    pub(super) fn is_reached(self, hits: u64, calls: u64) -> bool {
        hits > 0 && hits * 1_000_000 >= u64::from(self.millionths) * calls
    }

    /// From how many calls on it counts.
    pub(super) fn minimum(self, minimum: u32) -> u64 {
        u64::from(match self.over {
            Over::Calls(calls) => minimum.min(calls),
            Over::Time(_) => minimum,
        })
    }
}
