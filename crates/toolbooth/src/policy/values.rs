//! The settings that are tables, each with the short form that most tools need.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::PolicyError;
use super::read::given;

/// The queue of a limit: `queue = 64`, or a table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct QueueSettings {
    /// How many calls wait at most: 1,024 by default.
    #[serde(with = "given", skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u32>,
    /// How long a call waits at most: until its deadline by default.
    #[serde(with = "given", skip_serializing_if = "Option::is_none")]
    pub max_wait: Option<Duration>,
    /// The order in which calls leave the queue. By default first in, first out, and by priority
    /// if a tool whose calls wait in it has a priority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<QueueOrder>,
    /// The wait after which a call precedes every younger one. By default there is none.
    #[serde(with = "given", skip_serializing_if = "Option::is_none")]
    pub aging: Option<Duration>,
}

/// The order of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum QueueOrder {
    /// First in, first out.
    Fifo,
    /// The highest priority first.
    Priority,
    /// Tenants in turns, those of a tenant first in, first out. Calls without a
    /// [tenant](crate::CallContext::tenant) share a turn. Priorities have no effect.
    Fair,
}

/// The rates of a limit: `rate = "10/s"`, a table, or a list of either. A call needs a token of
/// each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateSettings {
    /// The rates: at least one, and at most 8.
    pub rates: Vec<Rate>,
}

/// A rate: `"10/s"`, or `{ per_second = 10, burst = 20 }`.
///
/// ```
/// use std::time::Duration;
/// use toolbooth::policy::Rate;
///
/// # fn main() -> Result<(), toolbooth::policy::PolicyError> {
/// let rate: Rate = "600/m".parse()?;
/// assert_eq!((rate.calls, rate.per), (600, Duration::from_secs(60)));
/// assert_eq!(rate.with_burst(20).to_string(), "600/m burst 20");
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rate {
    /// How many calls start in [`per`](Self::per).
    pub calls: u32,
    /// A second, a minute, an hour or a day.
    pub per: Duration,
    /// How many calls start at once: by default `calls`.
    pub burst: Option<u32>,
}

/// A circuit breaker: `breaker = 5` failures in a row, or a table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct BreakerSettings {
    /// How many failures in a row open it: 5 by default, or no such limit if a rate is given.
    #[serde(with = "given", skip_serializing_if = "Option::is_none")]
    pub failures: Option<u32>,
    /// The rate of failures that opens it, from 0 to 1.
    #[serde(with = "given", skip_serializing_if = "Option::is_none")]
    pub failure_rate: Option<f64>,
    /// A call is slow if it takes this long, or longer.
    #[serde(with = "given", skip_serializing_if = "Option::is_none")]
    pub slow: Option<Duration>,
    /// The rate of slow calls that opens it, from 0 to 1: 0.5 by default.
    #[serde(with = "given", skip_serializing_if = "Option::is_none")]
    pub slow_rate: Option<f64>,
    /// The time over which rates are measured: a minute by default.
    #[serde(with = "given", skip_serializing_if = "Option::is_none")]
    pub window: Option<Duration>,
    /// How many calls are counted before rates have an effect: 10 by default.
    #[serde(with = "given", skip_serializing_if = "Option::is_none")]
    pub min_calls: Option<u32>,
    /// How long it stays open: 30 s by default.
    #[serde(with = "given", skip_serializing_if = "Option::is_none")]
    pub open: Option<Duration>,
    /// How many probes must succeed to close it: 1 by default.
    #[serde(with = "given", skip_serializing_if = "Option::is_none")]
    pub probes: Option<u32>,
}

/// Retries: `retry = 3` attempts, or a table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RetrySettings {
    /// How many attempts a call has, including the first: 3 by default.
    #[serde(with = "given", skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// The backoff after the first attempt: 100 ms by default.
    #[serde(with = "given", skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Duration>,
    /// The longest backoff: 10 s by default.
    #[serde(with = "given", skip_serializing_if = "Option::is_none")]
    pub max_backoff: Option<Duration>,
    /// The longest `retry_after` that is waited for: 60 s by default.
    #[serde(with = "given", skip_serializing_if = "Option::is_none")]
    pub max_retry_after: Option<Duration>,
    /// How many retries each call that succeeds allows, from 0 to 1, beside 10 a second: 0.2 by
    /// default.
    #[serde(with = "given", skip_serializing_if = "Option::is_none")]
    pub budget: Option<f64>,
}

/// Partial results: `partial = 1024` items, or a table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PartialSettings {
    /// How many items are kept: 1,024 by default.
    #[serde(with = "given", skip_serializing_if = "Option::is_none")]
    pub items: Option<u32>,
    /// How many bytes are kept: 1 MiB by default.
    #[serde(with = "given", skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Which items are kept: the first ones by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
}

/// Which items of a result are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Keep {
    /// The first items.
    First,
    /// The newest items.
    Last,
}

/// The units of a rate, with the key of its table.
pub(super) const UNITS: [(&str, &str, Duration); 4] = [
    ("s", "per_second", Duration::from_secs(1)),
    ("m", "per_minute", Duration::from_secs(60)),
    ("h", "per_hour", Duration::from_secs(3_600)),
    ("d", "per_day", Duration::from_secs(86_400)),
];

macro_rules! setters {
    ($type:ident: $($(#[$attribute:meta])* $setter:ident($name:ident: $value:ty);)*) => {
        impl $type {
            /// Creates settings of which all are the default.
            #[must_use]
            pub fn new() -> Self {
                Self::default()
            }

            $($(#[$attribute])*
            #[must_use]
            pub const fn $setter(mut self, $name: $value) -> Self {
                self.$name = Some($name);
                self
            })*
        }
    };
}

setters! { QueueSettings:
    /// Sets how many calls wait.
    with_capacity(capacity: u32);
    /// Sets how long a call waits.
    with_max_wait(max_wait: Duration);
    /// Sets the order.
    with_order(order: QueueOrder);
    /// Sets the wait after which a call precedes every younger one.
    with_aging(aging: Duration);
}

setters! { BreakerSettings:
    /// Sets how many failures in a row open it.
    with_failures(failures: u32);
    /// Sets the rate of failures that opens it, from 0 to 1.
    with_failure_rate(failure_rate: f64);
    /// Sets the time from which a call is slow.
    with_slow(slow: Duration);
    /// Sets the rate of slow calls that opens it, from 0 to 1.
    with_slow_rate(slow_rate: f64);
    /// Sets the time over which rates are measured.
    with_window(window: Duration);
    /// Sets how many calls are counted before rates have an effect.
    with_min_calls(min_calls: u32);
    /// Sets how long it stays open.
    with_open(open: Duration);
    /// Sets how many probes must succeed to close it.
    with_probes(probes: u32);
}

setters! { RetrySettings:
    /// Sets how many attempts a call has.
    with_attempts(attempts: u32);
    /// Sets the backoff after the first attempt.
    with_backoff(backoff: Duration);
    /// Sets the longest backoff.
    with_max_backoff(max_backoff: Duration);
    /// Sets the longest `retry_after` that is waited for.
    with_max_retry_after(max_retry_after: Duration);
    /// Sets how many retries each call that succeeds allows, from 0 to 1.
    with_budget(budget: f64);
}

setters! { PartialSettings:
    /// Sets how many items are kept.
    with_items(items: u32);
    /// Sets how many bytes are kept.
    with_bytes(bytes: u64);
    /// Sets which items are kept.
    with_keep(keep: Keep);
}

// === impl RateSettings ===

impl From<Rate> for RateSettings {
    fn from(rate: Rate) -> Self {
        Self { rates: vec![rate] }
    }
}

impl FromIterator<Rate> for RateSettings {
    fn from_iter<I: IntoIterator<Item = Rate>>(rates: I) -> Self {
        Self {
            rates: rates.into_iter().collect(),
        }
    }
}

// === impl Rate ===

impl Rate {
    /// Creates a rate of calls in a second.
    #[must_use]
    pub const fn per_second(calls: u32) -> Self {
        Self::new(calls, UNITS[0].2)
    }

    /// Creates a rate of calls in a minute.
    #[must_use]
    pub const fn per_minute(calls: u32) -> Self {
        Self::new(calls, UNITS[1].2)
    }

    /// Creates a rate of calls in an hour.
    #[must_use]
    pub const fn per_hour(calls: u32) -> Self {
        Self::new(calls, UNITS[2].2)
    }

    /// Creates a rate of calls in a day.
    #[must_use]
    pub const fn per_day(calls: u32) -> Self {
        Self::new(calls, UNITS[3].2)
    }

    pub(super) const fn new(calls: u32, per: Duration) -> Self {
        Self {
            calls,
            per,
            burst: None,
        }
    }

    /// Sets how many calls start at once.
    #[must_use]
    pub const fn with_burst(mut self, burst: u32) -> Self {
        self.burst = Some(burst);
        self
    }

    /// Parses `10/s`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (calls, unit) = text.split_once('/')?;
        let calls = calls.trim().parse().ok()?;
        let mut units = UNITS.into_iter();
        let (.., per) = units.find(|(short, ..)| *short == unit.trim())?;
        Some(Self::new(calls, per))
    }
}

impl FromStr for Rate {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let rate = super::value::parse::<Self>(text);
        rate.map_err(|message| PolicyError::invalid(String::new(), message))
    }
}

/// Shows `10/s`, and the burst if it is set.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().find(|(.., per)| *per == self.per);
        match unit {
            Some((unit, ..)) => write!(f, "{}/{unit}", self.calls)?,
            None => write!(f, "{}/{:?}", self.calls, self.per)?,
        }
        match self.burst {
            Some(burst) => write!(f, " burst {burst}"),
            None => Ok(()),
        }
    }
}
