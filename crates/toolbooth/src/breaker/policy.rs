use std::time::Duration;

use super::counting::Counting;
use super::result::CallResult;
use crate::middleware::ConfigError;

/// The rules by which a circuit breaker opens and closes.
///
/// ```
/// use std::time::Duration;
/// use toolbooth::{BreakerPolicy, CircuitBreakerLayer, ConfigError};
///
/// # fn main() -> Result<(), ConfigError> {
/// // Opens if half of the last 20 calls failed, or if 10 % of a minute's calls took 2 s or longer.
/// let policy = BreakerPolicy::new()
///     .with_failure_rate(0.5, 20)?
///     .with_slow_calls(Duration::from_secs(2), 0.1, Duration::from_secs(60))?
///     .with_open_time(Duration::from_secs(10))
///     .with_open_growth(2.0, Duration::from_secs(300))?;
/// let breaker = CircuitBreakerLayer::with_policy(policy);
/// # drop(breaker);
///
/// let invalid = BreakerPolicy::new().with_failure_rate(50.0, 20);
/// assert_eq!(invalid.err(), Some(ConfigError::RateOutOfRange));
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

/// The window of a rate: a number of calls, or a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Over {
    /// The last n calls. The window slides with each call.
    Calls(u32),
    /// The calls within the duration. The window slides in steps of a tenth of it.
    Time(Duration),
}

/// A rate in millionths, over a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    millionths: u32,
    pub(super) over: Over,
}

const DEFAULT_FAILURES: u32 = 5;
const DEFAULT_MINIMUM: u32 = 10;
const DEFAULT_OPEN_TIME: Duration = Duration::from_secs(30);
const DEFAULT_HALF_OPEN_LIMIT: Duration = Duration::from_secs(300);
/// The maximum size of a window in calls: 125 kB.
const MAX_CALLS: u32 = 1_000_000;

// === impl BreakerPolicy ===

impl BreakerPolicy {
    /// Opens after 5 failures in a row for 30 s. Then it admits one probe at a time, and the first
    /// success closes it.
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

    /// Opens after `failures` failures in a row.
    ///
    /// By default 5, or no such limit if a rate is set. With both, either opens the breaker.
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

    /// Opens if the rate of failures reaches `rate`, from 0 to 1, over a window of calls or of
    /// time.
    ///
    /// A rate of 0 opens at the first failure. A rate has no effect before a
    /// [minimum of calls](Self::with_minimum_calls) was counted.
    ///
    /// # Errors
    /// [`ConfigError::RateOutOfRange`] for a rate outside of 0 to 1. [`ConfigError::Window`] for a
    /// window of zero calls, zero time, or more than a million calls.
    pub fn with_failure_rate(
        mut self,
        rate: f64,
        over: impl Into<Over>,
    ) -> Result<Self, ConfigError> {
        self.failures = Some(Rate::new(rate, over.into())?);
        Ok(self)
    }

    /// Opens if the rate of slow calls reaches `rate`, as with
    /// [`with_failure_rate`](Self::with_failure_rate).
    ///
    /// A call is slow if it takes `slow` or longer, from its admission to the last byte of the
    /// response, whether or not it fails. While half-open, a slow probe is a failure.
    ///
    /// Time in the queues of inner layers counts. To exclude it, put concurrency and rate limits
    /// outside of the breaker.
    ///
    /// # Errors
    /// As [`with_failure_rate`](Self::with_failure_rate), and [`ConfigError::ZeroSlow`] for zero,
    /// which every call takes.
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

    /// Sets the number of counted calls before rates have an effect, by default 10.
    ///
    /// It is at most the size of the window. 0 has the effect of 1.
    #[must_use]
    pub const fn with_minimum_calls(mut self, calls: u32) -> Self {
        self.minimum = calls;
        self
    }

    /// Sets the open time, by default 30 s.
    ///
    /// With [`Duration::MAX`] it stays open until it is [reset](crate::CircuitBreakerLayer::reset).
    #[must_use]
    pub const fn with_open_time(mut self, time: Duration) -> Self {
        self.open_time = time;
        self
    }

    /// Multiplies the open time by `factor`, up to `max`, each time the breaker opens again without
    /// having been closed.
    ///
    /// # Errors
    /// [`ConfigError::Growth`] for a factor that is below 1 or not finite.
    pub fn with_open_growth(mut self, factor: f64, max: Duration) -> Result<Self, ConfigError> {
        if !(factor.is_finite() && factor >= 1.0) {
            return Err(ConfigError::Growth);
        }
        self.growth = Some((factor, max));
        Ok(self)
    }

    /// Sets the number of probes: calls that are admitted while half-open, and that must all
    /// succeed to close the breaker. By default 1. A probe that fails opens it again.
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

    /// Sets the maximum time that probes may run without a pause while half-open, by default 5 min.
    ///
    /// It is measured from the start of the first of them. When it expires, a probe is considered
    /// to hang and counts as a failure; its later success is ignored. Choose a limit longer than
    /// the longest call, or than that for each of [several probes](Self::with_probes). A streaming
    /// response is a success at its first item, unless [slow calls](Self::with_slow_calls) count.
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

    /// Sets the predicate that returns whether a result is a failure, by default
    /// [`Failures::grpc`](super::Failures::grpc).
    ///
    /// It is called with each response and with each error of the tool itself. It is not called for
    /// panics, for calls that their caller cancelled or dropped, and for calls that an inner layer
    /// rejected. An HTTP response is passed as its head, and as its trailers if the head is no
    /// failure.
    ///
    /// A response for which it returns false counts as a success, and so does an
    /// [`ErrorKind::Tool`](crate::ErrorKind::Tool). Any other error then counts as nothing. A
    /// predicate that panics counts as true.
    ///
    /// ```
    /// use toolbooth::breaker::Failures;
    /// use toolbooth::{BreakerPolicy, ErrorKind};
    ///
    /// // An exit code of 2 is an outage, and so is an upstream that rejects calls.
    /// let failures = Failures::http();
    /// let policy = BreakerPolicy::new().with_failures(move |result| {
    ///     let kind = result.error().map(|error| error.kind());
    ///     failures(result) || result.exit_code() == Some(2) || kind == Some(ErrorKind::RateLimited)
    /// });
    /// # drop(policy);
    /// ```
    #[must_use]
    pub fn with_failures<F>(mut self, failures: F) -> Self
    where
        F: Fn(CallResult<'_>) -> bool + Send + Sync + 'static,
    {
        self.counting.set_predicate(failures);
        self
    }

    /// Opens the breaker while the tool rejects calls, for the time that the tool names, and at
    /// most for `max`. By default, and with `None`, it does not.
    ///
    /// A tool rejects a call with [`ToolError::rate_limited`](crate::ToolError::rate_limited), an
    /// HTTP service with a status of 429 or 503 and a `Retry-After` in seconds. A date is ignored.
    /// The rejection is no failure: the predicate is not called, and the open time does not
    /// [grow](Self::with_open_growth). After the time, the breaker is half-open as usual.
    #[must_use]
    pub fn with_cool_down(mut self, max: impl Into<Option<Duration>>) -> Self {
        self.counting.cool_down = max.into().filter(|max| !max.is_zero());
        self
    }

    /// Sets whether a panic of the tool counts as a failure, by default true.
    #[must_use]
    pub const fn with_panics(mut self, count: bool) -> Self {
        self.counting.panics = count;
        self
    }

    /// Sets whether a call that is dropped by its caller counts as a failure, by default false.
    ///
    /// A response that is dropped after its first item is a success all the same.
    ///
    /// An outer timeout of another crate drops its calls as well, which the breaker cannot
    /// distinguish.
    #[must_use]
    pub const fn with_drops(mut self, count: bool) -> Self {
        self.counting.drops = count;
        self
    }

    /// Returns the number of failures in a row that opens the breaker, if there is such a limit.
    pub(super) const fn failures_in_a_row(&self) -> Option<u32> {
        match (self.consecutive, self.failures, self.slow) {
            (None, None, None) => Some(DEFAULT_FAILURES),
            (given, ..) => given,
        }
    }

    /// Returns the open time after `trips` trips in a row.
    pub(super) fn open_for(&self, trips: u32) -> Duration {
        let Some((factor, max)) = self.growth else {
            return self.open_time;
        };
        let times = i32::try_from(trips.saturating_sub(1)).unwrap_or(i32::MAX);
        // Finite, so that the product with a time of 0 is 0.
        let factor = factor.powi(times).min(f64::MAX);
        let grown = self.open_time.as_secs_f64() * factor;
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
            Over::Calls(calls) if calls > MAX_CALLS => return Err(ConfigError::Window),
            Over::Calls(_) | Over::Time(_) => {}
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the value is from 0 to 1,000,000"
        )]
        let millionths = (rate * 1e6).round() as u32;
        Ok(Self { millionths, over })
    }

    /// Returns whether the rate is reached. In integers, so that 0.55 of 100 calls is exactly 55.
    pub(super) fn is_reached(self, hits: u64, calls: u64) -> bool {
        hits > 0 && hits * 1_000_000 >= u64::from(self.millionths) * calls
    }

    /// Returns the number of calls from which the rate has an effect.
    pub(super) fn minimum(self, minimum: u32) -> u64 {
        u64::from(match self.over {
            Over::Calls(calls) => minimum.min(calls),
            Over::Time(_) => minimum,
        })
    }
}
