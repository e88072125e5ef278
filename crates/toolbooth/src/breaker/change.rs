//! The states of a circuit breaker, and the changes between them.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// The state of a circuit breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BreakerState {
    /// Calls are admitted and counted.
    Closed,
    /// Calls are rejected.
    Open,
    /// Calls are admitted as probes, up to the configured number. Others are rejected.
    HalfOpen,
    /// Calls are admitted and not counted.
    Disabled,
}

/// A change of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) from: BreakerState,
    pub(super) to: BreakerState,
    /// The open time, if it opened and the time is known.
    pub(super) open_for: Option<Duration>,
    pub(super) why: Why,
}

/// The reason of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Failures in a row.
    Failures,
    FailureRate,
    SlowCalls,
    CoolDown,
    /// The open time has passed.
    OpenTime,
    ProbesSucceeded,
    ProbeFailed,
    /// A probe ran for too long.
    ProbeExpired,
    ByHand,
    /// The key was not used for long, or made room for another one.
    Forgotten,
    /// The rules were changed.
    #[cfg(feature = "policy")]
    Policy,
}

/// The undelivered changes, in order.
#[derive(Debug, Default)]
pub(super) struct Changes(VecDeque<Change>);

/// The maximum number of undelivered changes. Further changes are merged into the last one.
const MAX_CHANGES: usize = 64;

// === impl BreakerState ===

impl BreakerState {
    /// Returns the stable name: `closed`, `open`, `half_open` or `disabled`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::Disabled => "disabled",
        }
    }
}

impl fmt::Display for BreakerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

// === impl Why ===

impl Why {
    /// Returns the stable name.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Failures => "failures",
            Self::FailureRate => "failure_rate",
            Self::SlowCalls => "slow_calls",
            Self::CoolDown => "cool_down",
            Self::OpenTime => "open_time",
            Self::ProbesSucceeded => "probes_succeeded",
            Self::ProbeFailed => "probe_failed",
            Self::ProbeExpired => "probe_expired",
            Self::ByHand => "by_hand",
            Self::Forgotten => "forgotten",
            #[cfg(feature = "policy")]
            Self::Policy => "policy",
        }
    }
}

// === impl Changes ===

impl Changes {
    pub(super) fn push(&mut self, change: Change) {
        let full = self.0.len() >= MAX_CHANGES;
        match self.0.back_mut().filter(|_| full) {
            Some(last) => {
                let from = last.from;
                *last = Change { from, ..change };
            }
            None => self.0.push_back(change),
        }
    }

    /// Takes the oldest change.
    pub(super) fn next(&mut self) -> Option<Change> {
        self.0.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
