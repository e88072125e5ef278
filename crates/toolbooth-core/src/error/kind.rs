use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::text::bounded_message;

/// The kind of a [`ToolError`](crate::ToolError): stable and of low cardinality, for metric labels.
///
/// Its JSON is the [stable name](Self::as_str).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// A time limit expired.
    Timeout,
    /// The call was cancelled.
    Cancelled,
    /// Rejected by a rate limit.
    RateLimited,
    /// Rejected by a full concurrency limit or queue, or by a service that is shutting down.
    Overloaded,
    /// Rejected by an open circuit breaker.
    CircuitOpen,
    /// The tool panicked.
    Panicked,
    /// The arguments are invalid.
    InvalidArguments,
    /// There is no tool of that name.
    UnknownTool,
    /// Denied by a gate.
    Denied,
    /// The call is nested too deep.
    TooDeep,
    /// The tool failed.
    #[serde(rename = "tool_error")]
    Tool,
}

/// The time limit that expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimeoutScope {
    /// The limit of a timeout layer on the call, including waits and a streaming response.
    Total,
    /// The deadline set by the caller.
    Deadline,
    /// The limit of a timeout layer on the time without activity.
    Idle,
    /// The limit of a timeout layer on the time until the first item of the response.
    FirstItem,
    /// The limit of another crate's layer, such as tower's `Timeout`. Its length is not known; the
    /// elapsed time stands for it.
    Foreign,
}

/// Why a gate did not allow a call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DenyReason {
    /// The gate decided so.
    #[non_exhaustive]
    Decided {
        /// The message of the decision, which the client may read.
        message: Arc<str>,
    },
    /// The gate did not decide in time.
    #[non_exhaustive]
    NoDecision {
        /// The maximum time for a decision.
        limit: Duration,
    },
    /// The gate panicked.
    #[non_exhaustive]
    Panicked {
        /// The message of the panic.
        message: Arc<str>,
    },
}

/// Why a call was rejected as overloaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OverloadReason {
    /// The limit is 0, so every call is rejected. A retry does not help.
    Closed,
    /// The queue is full.
    #[non_exhaustive]
    QueueFull {
        /// The maximum number of waiters.
        capacity: usize,
    },
    /// The call waited in the queue for the maximum time.
    #[non_exhaustive]
    WaitedTooLong {
        /// The maximum time in the queue.
        max_wait: Duration,
    },
    /// The call could not start before its deadline or within the maximum wait.
    ///
    /// This is an estimate from the duration of calls.
    #[non_exhaustive]
    TooLate {
        /// The estimated minimum wait.
        wait: Duration,
    },
    /// The call costs more than the limit can ever grant. A retry does not help.
    #[non_exhaustive]
    TooHeavy {
        /// The cost of the call.
        cost: u64,
        /// The maximum that the limit can grant.
        limit: u64,
    },
    /// The key of the call is new, and the maximum number of keys is in use.
    #[non_exhaustive]
    TooManyKeys {
        /// The maximum number of keys.
        keys: usize,
    },
    /// The service is shutting down, and takes no new calls.
    #[non_exhaustive]
    ShuttingDown {
        /// The time to wait before a retry.
        retry_after: Duration,
    },
    /// The store of a limit that several processes share is away, and the limit rejects calls then.
    #[non_exhaustive]
    StoreAway {
        /// The time to wait before a retry.
        retry_after: Duration,
    },
    /// Rejected by another crate's layer, such as tower's `LoadShed`.
    Foreign,
}

// === impl ErrorKind ===

impl ErrorKind {
    /// Returns the stable name: `timeout`, `cancelled`, `rate_limited`, `overloaded`,
    /// `circuit_open`, `panicked`, `invalid_arguments`, `unknown_tool`, `denied`, `too_deep` or
    /// `tool_error`.
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
            Self::Denied => "denied",
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
    /// Returns the stable name: `total`, `deadline`, `idle`, `first_item` or `foreign`.
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

// === impl DenyReason ===

impl DenyReason {
    /// Makes the reason of a gate that decided so, with a message that the client may read.
    #[must_use]
    pub fn decided(message: impl Into<Arc<str>>) -> Self {
        let message = message.into();
        Self::Decided { message }
    }

    /// Makes the reason of a gate that did not decide within `limit`.
    #[must_use]
    pub const fn no_decision(limit: Duration) -> Self {
        Self::NoDecision { limit }
    }

    /// Makes the reason of a gate that panicked, with the message of the panic.
    #[must_use]
    pub fn panicked(message: impl Into<Arc<str>>) -> Self {
        let message = message.into();
        Self::Panicked { message }
    }
}

impl fmt::Display for DenyReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decided { message } => f.write_str(&bounded_message(message)),
            Self::NoDecision { limit } => write!(f, "the gate did not decide within {limit:?}"),
            Self::Panicked { message } => {
                write!(f, "the gate panicked: {}", bounded_message(message))
            }
        }
    }
}

// === impl OverloadReason ===

impl OverloadReason {
    /// Makes the reason of a queue that already has `capacity` waiters.
    #[must_use]
    pub const fn queue_full(capacity: usize) -> Self {
        Self::QueueFull { capacity }
    }

    /// Makes the reason of a call that was queued for `max_wait`.
    #[must_use]
    pub const fn waited_too_long(max_wait: Duration) -> Self {
        Self::WaitedTooLong { max_wait }
    }

    /// Makes the reason of a call that would wait for at least `wait`.
    #[must_use]
    pub const fn too_late(wait: Duration) -> Self {
        Self::TooLate { wait }
    }

    /// Makes the reason of a call that costs more than the limit can ever grant.
    #[must_use]
    pub const fn too_heavy(cost: u64, limit: u64) -> Self {
        Self::TooHeavy { cost, limit }
    }

    /// Makes the reason of a new key while `keys` keys, the maximum, are in use.
    #[must_use]
    pub const fn too_many_keys(keys: usize) -> Self {
        Self::TooManyKeys { keys }
    }

    /// Makes the reason of a service that is shutting down, with the time to wait before a retry.
    #[must_use]
    pub const fn shutting_down(retry_after: Duration) -> Self {
        Self::ShuttingDown { retry_after }
    }

    /// Makes the reason of a limit whose store is away, with the time to wait before a retry.
    #[must_use]
    pub const fn store_away(retry_after: Duration) -> Self {
        Self::StoreAway { retry_after }
    }

    /// Returns whether the same call may be admitted later.
    ///
    /// False for a limit of 0, and for a call whose cost exceeds the limit.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        !matches!(self, Self::Closed | Self::TooHeavy { .. })
    }

    /// Returns the time to wait before a retry, if known.
    #[must_use]
    pub const fn retry_after(self) -> Option<Duration> {
        match self {
            Self::ShuttingDown { retry_after } | Self::StoreAway { retry_after } => {
                Some(retry_after)
            }
            _ => None,
        }
    }
}

impl fmt::Display for OverloadReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the limit is 0, no call can run"),
            Self::QueueFull { capacity: 0 } => {
                f.write_str("the limit is reached, and no call can be queued")
            }
            Self::QueueFull { capacity } => {
                write!(f, "the limit is reached, and {capacity} calls are queued")
            }
            Self::WaitedTooLong { max_wait } => {
                write!(f, "still queued after the maximum wait of {max_wait:?}")
            }
            Self::TooLate { wait } => {
                write!(
                    f,
                    "the call cannot start in time: it would wait for at least {wait:?}"
                )
            }
            Self::TooHeavy { cost, limit } => {
                write!(f, "the call costs {cost}, more than the limit of {limit}")
            }
            Self::TooManyKeys { keys } => {
                write!(f, "the key is new, and all {keys} keys are in use")
            }
            Self::ShuttingDown { .. } => f.write_str("the service is shutting down"),
            Self::StoreAway { .. } => f.write_str("the store of the shared limit does not answer"),
            Self::Foreign => f.write_str("the service shed the call"),
        }
    }
}
