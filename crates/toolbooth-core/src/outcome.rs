use std::fmt;

/// How a call, or one attempt of it, ended. Each ends in exactly one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// It answered, and delivered its answer to the last byte.
    Completed,
    /// The tool failed, or reported a failure as its answer, or got arguments that it cannot take.
    Failed,
    /// A time limit struck.
    TimedOut,
    /// Whoever waited for it is gone.
    Cancelled,
    /// It was refused and did not run: by a rate, by a full waiting line, by a name nobody knows.
    Rejected,
    /// The tool panicked.
    Panicked,
}

/// Why a call was cut short from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CancelReason {
    /// A time limit further out struck.
    Timeout,
    /// The caller dropped the call, or its answer.
    CallerGone,
    /// The call that made this one was cut short, or is over.
    Parent,
    /// No more calls are taken, or the runtime is going away: shutdown.
    Shutdown,
    /// The call's owner [cancelled](crate::Canceller) it.
    Explicit,
}

// === impl Outcome ===

impl Outcome {
    /// A stable name: `completed`, `failed`, `timed_out`, `cancelled`, `rejected`, `panicked`.
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
    /// A stable name: `timeout`, `caller_gone`, `parent`, `shutdown`, `explicit`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::CallerGone => "caller_gone",
            Self::Parent => "parent",
            Self::Shutdown => "shutdown",
            Self::Explicit => "explicit",
        }
    }

    /// The outcome of a call that was cut short for this reason.
    #[must_use]
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::Timeout => Outcome::TimedOut,
            Self::CallerGone | Self::Parent | Self::Shutdown | Self::Explicit => Outcome::Cancelled,
        }
    }
}

impl fmt::Display for CancelReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
