use std::fmt;

/// The outcome of a call or of an attempt. Each has exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The response was delivered to its last byte.
    Completed,
    /// The tool failed, returned a response that reports a failure, or got invalid arguments.
    Failed,
    /// A time limit expired.
    TimedOut,
    /// The call was cancelled, or its caller dropped it.
    Cancelled,
    /// The call was rejected and did not run, such as by a rate limit, a full queue or an unknown
    /// name.
    Rejected,
    /// The tool panicked.
    Panicked,
}

/// The reason of a cancellation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CancelReason {
    /// A time limit of an outer layer expired.
    Timeout,
    /// The caller dropped the call or its streaming response.
    CallerGone,
    /// The parent call was cancelled or has ended.
    Parent,
    /// Shutdown: the service or the runtime is shutting down.
    Shutdown,
    /// The owner of the call [cancelled](crate::Canceller) it.
    Explicit,
    /// The permits of a limit that several processes share could not be kept.
    LeaseLost,
}

// === impl Outcome ===

impl Outcome {
    /// Returns the stable name: `completed`, `failed`, `timed_out`, `cancelled`, `rejected` or
    /// `panicked`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Rejected => "rejected",
            Self::Panicked => "panicked",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

// === impl CancelReason ===

impl CancelReason {
    /// Returns the stable name: `timeout`, `caller_gone`, `parent`, `shutdown`, `explicit` or
    /// `lease_lost`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::CallerGone => "caller_gone",
            Self::Parent => "parent",
            Self::Shutdown => "shutdown",
            Self::Explicit => "explicit",
            Self::LeaseLost => "lease_lost",
        }
    }

    /// Returns the outcome of a call that was cancelled for this reason.
    #[must_use]
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::Timeout => Outcome::TimedOut,
            Self::CallerGone | Self::Parent | Self::Shutdown | Self::Explicit | Self::LeaseLost => {
                Outcome::Cancelled
            }
        }
    }
}

impl fmt::Display for CancelReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
