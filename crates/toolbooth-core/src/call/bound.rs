//! The limit at which a call expires.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use super::clock::{AtomicMoment, Moment, nanos};
use super::context::CallContext;
use crate::error::{TimeoutScope, ToolError};

/// A limit at which a call expires: the instant, its kind and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    at: Moment,
    limit_nanos: u64,
    scope: TimeoutScope,
}

/// A bound, or none, that layers inside and other threads read.
///
/// One layer at a time writes it. The Release store of `at` comes last and pairs with the Acquire
/// load in `get`, so that a reader of `at` finds the other two fields written.
#[derive(Debug)]
pub(super) struct AtomicBound {
    at: AtomicMoment,
    limit_nanos: AtomicU64,
    scope: AtomicU8,
}

// === impl Bound ===

impl Bound {
    /// Creates a limit of this kind and length that expires at `at`.
    ///
    /// A length of more than 584 years is reported as that.
    #[must_use]
    #[inline]
    pub fn new(at: Moment, scope: TimeoutScope, limit: Duration) -> Self {
        Self {
            at,
            limit_nanos: nanos(limit).unwrap_or(u64::MAX),
            scope,
        }
    }

    /// Creates a limit that starts at `now`. Returns `None` if its end is beyond the clock's range.
    #[must_use]
    #[inline]
    pub fn after(now: Moment, scope: TimeoutScope, limit: Duration) -> Option<Self> {
        Some(Self::new(now.after(limit)?, scope, limit))
    }

    /// Returns the instant at which the limit expires.
    #[must_use]
    #[inline]
    pub const fn at(&self) -> Moment {
        self.at
    }

    /// Returns the kind of the limit.
    #[must_use]
    pub const fn scope(&self) -> TimeoutScope {
        self.scope
    }

    /// Returns the length of the limit.
    #[must_use]
    pub const fn limit(&self) -> Duration {
        Duration::from_nanos(self.limit_nanos)
    }

    /// Returns the error of a call that expires at this limit now.
    #[must_use]
    pub fn error(&self, context: &CallContext) -> ToolError {
        ToolError::timeout(self.scope(), self.limit(), context.elapsed())
    }
}

// === impl AtomicBound ===

impl AtomicBound {
    pub(super) const fn none() -> Self {
        Self {
            at: AtomicMoment::none(),
            limit_nanos: AtomicU64::new(0),
            scope: AtomicU8::new(0),
        }
    }

    #[inline]
    pub(super) fn get(&self) -> Option<Bound> {
        let at = self.at.get()?;
        let scope = usize::from(self.scope.load(Ordering::Relaxed));
        Some(Bound {
            at,
            limit_nanos: self.limit_nanos.load(Ordering::Relaxed),
            scope: SCOPES.get(scope).copied().unwrap_or(TimeoutScope::Total),
        })
    }

    #[inline]
    pub(super) fn set(&self, bound: Bound) {
        self.limit_nanos.store(bound.limit_nanos, Ordering::Relaxed);
        self.scope.store(bound.scope as u8, Ordering::Relaxed);
        self.at.set(Some(bound.at));
    }
}

/// The kinds in the order of their discriminants.
const SCOPES: [TimeoutScope; 5] = [
    TimeoutScope::Total,
    TimeoutScope::Deadline,
    TimeoutScope::Idle,
    TimeoutScope::FirstItem,
    TimeoutScope::Foreign,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_atomic_bound_returns_what_was_set() {
        let cell = AtomicBound::none();
        assert_eq!(cell.get(), None);
        for scope in SCOPES {
            let bound = Bound::new(Moment::now(), scope, Duration::from_millis(1_500));
            cell.set(bound);
            assert_eq!(cell.get(), Some(bound));
            assert_eq!(bound.limit(), Duration::from_millis(1_500));
        }
        let longest = Bound::new(Moment::now(), TimeoutScope::Total, Duration::MAX);
        assert_eq!(longest.limit(), Duration::from_nanos(u64::MAX));
    }
}
