use std::fmt;
use std::time::Duration;

/// The kind of a [`ToolError`](crate::ToolError): stable, few values, fit for a metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A time limit struck.
    Timeout,
    /// Cut short from outside.
    Cancelled,
    /// Refused by a rate limit.
    RateLimited,
    /// Refused by a full limit or waiting line.
    Overloaded,
    /// Refused by a circuit breaker that is open.
    CircuitOpen,
    /// The tool panicked.
    Panicked,
    /// The arguments do not fit.
    InvalidArguments,
    /// No tool of that name.
    UnknownTool,
    /// Nested too deep.
    TooDeep,
    /// The tool failed.
    Tool,
}

/// Which time limit struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimeoutScope {
    /// The limit of a timeout layer on the whole call, waits and streamed answer included.
    Total,
    /// The deadline that the caller gave.
    Deadline,
    /// The limit of a timeout layer on the time without a sign of life.
    Idle,
    /// The limit of a timeout layer on the time until the first item of the result.
    FirstItem,
    /// A layer that is not toolbooth's, such as tower's `Timeout`; it does not tell its length,
    /// so the limit reads as the time that passed.
    Foreign,
}

/// What refused a call as overloaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OverloadReason {
    /// The limit is 0: closed to every call.
    Closed,
    /// The waiting line is full.
    #[non_exhaustive]
    QueueFull {
        /// How many may wait.
        capacity: usize,
    },
    /// The call waited in line as long as a call may.
    #[non_exhaustive]
    WaitedTooLong {
        /// How long a call may wait.
        max_wait: Duration,
    },
    /// The call could not start in time, by the estimate of how long a call takes.
    #[non_exhaustive]
    TooLate {
        /// How long it would have waited at least.
        wait: Duration,
    },
    /// The call takes more than the limit can ever give: trying again does not help.
    #[non_exhaustive]
    TooHeavy {
        /// What the call takes.
        cost: u64,
        /// The most that there is.
        limit: u64,
    },
    /// The call's key is new, and as many keys as may be are in use.
    #[non_exhaustive]
    TooManyKeys {
        /// How many may be.
        keys: usize,
    },
    /// A layer that is not toolbooth's, such as tower's `LoadShed`.
    Foreign,
}

// === impl ErrorKind ===

impl ErrorKind {
    /// The stable name: `timeout`, `cancelled`, `rate_limited`, `overloaded`, `circuit_open`, `panicked`,
    /// `invalid_arguments`, `unknown_tool`, `too_deep`, `tool_error`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::CircuitOpen => "circuit_open",
            Self::Panicked => "panicked",
            Self::InvalidArguments => "invalid_arguments",
            Self::UnknownTool => "unknown_tool",
            Self::TooDeep => "too_deep",
            Self::Tool => "tool_error",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

// === impl TimeoutScope ===

impl TimeoutScope {
    /// The stable name: `total`, `deadline`, `idle`, `first_item`, `foreign`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Deadline => "deadline",
            Self::Idle => "idle",
            Self::FirstItem => "first_item",
            Self::Foreign => "foreign",
        }
    }
}

impl fmt::Display for TimeoutScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

// === impl OverloadReason ===

impl OverloadReason {
    /// A waiting line that holds `capacity` calls already.
    #[must_use]
    pub const fn queue_full(capacity: usize) -> Self {
        Self::QueueFull { capacity }
    }

    /// A wait that came to its end.
    #[must_use]
    pub const fn waited_too_long(max_wait: Duration) -> Self {
        Self::WaitedTooLong { max_wait }
    }

    /// A wait that would be too long.
    #[must_use]
    pub const fn too_late(wait: Duration) -> Self {
        Self::TooLate { wait }
    }

    /// A call that takes more than there ever is.
    #[must_use]
    pub const fn too_heavy(cost: u64, limit: u64) -> Self {
        Self::TooHeavy { cost, limit }
    }

    /// One key too many.
    #[must_use]
    pub const fn too_many_keys(keys: usize) -> Self {
        Self::TooManyKeys { keys }
    }

    /// Whether the same call may be let in later.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        !matches!(self, Self::TooHeavy { .. })
    }
}

impl fmt::Display for OverloadReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the limit is 0, so that no call may run"),
            Self::QueueFull { capacity: 0 } => {
                f.write_str("the limit is reached, and no call may wait")
            }
            Self::QueueFull { capacity } => {
                write!(f, "the limit is reached, and {capacity} calls are waiting")
            }
            Self::WaitedTooLong { max_wait } => write!(f, "no place was free within {max_wait:?}"),
            Self::TooLate { wait } => {
                write!(f, "the call could not start for at least {wait:?}")
            }
            Self::TooHeavy { cost, limit } => {
                write!(
                    f,
                    "the call takes {cost}, and the limit gives {limit} at most"
                )
            }
            Self::TooManyKeys { keys } => {
                write!(
                    f,
                    "all {keys} keys that may be are in use, and this one is new"
                )
            }
            Self::Foreign => f.write_str("the service shed the call"),
        }
    }
}
