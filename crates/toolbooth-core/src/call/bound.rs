//! The limit at which a call expires.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::clock::{AtomicMoment, Moment, nanos};
use super::context::CallContext;
use crate::error::{TimeoutScope, ToolError};

/// A limit at which a call expires: the instant, its kind and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    at: Moment,
    word: LimitWord,
}

/// The kind and length of a limit in one word: the nanoseconds above the kind. So a bound has
/// no padding, and is moved in whole words without waiting for smaller stores (`three`: 15 ns).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LimitWord(u64);

/// A bound, or none, that layers inside and other threads read.
///
/// One layer at a time writes it. The Release store of `at` comes last and pairs with the Acquire
/// load in `get`, so that a reader of `at` finds the other field written.
#[derive(Debug)]
pub(super) struct AtomicBound {
    at: AtomicMoment,
    word: AtomicU64,
}

// === impl Bound ===

impl Bound {
    /// Creates a limit of this kind and length that expires at `at`.
    ///
    /// A length of more than 73 years is reported as that.
    #[must_use]
    #[inline]
    pub fn new(at: Moment, scope: TimeoutScope, limit: Duration) -> Self {
        let word = LimitWord::new(scope, limit);
        Self { at, word }
    }

    /// Creates a limit that starts at `now`. Returns `None` if its end is beyond the clock's range.
    #[must_use]
    #[inline]
    pub fn after(now: Moment, scope: TimeoutScope, limit: Duration) -> Option<Self> {
        Some(Self::new(now.after(limit)?, scope, limit))
    }

    /// Creates a limit that starts at `start` and expires at `end`.
    #[inline]
    pub(super) fn between(start: Moment, end: Moment, scope: TimeoutScope) -> Self {
        let nanos = end.as_nanos().saturating_sub(start.as_nanos());
        let word = LimitWord::of_nanos(scope, nanos);
        Self { at: end, word }
    }

    /// Returns the instant at which the limit expires.
    #[must_use]
    #[inline]
    pub const fn at(&self) -> Moment {
        self.at
    }

    /// Returns the kind of the limit.
    #[must_use]
    pub fn scope(&self) -> TimeoutScope {
        self.word.scope()
    }

    /// Returns the length of the limit.
    #[must_use]
    pub const fn limit(&self) -> Duration {
        self.word.limit()
    }

    /// Returns the error of a call that expires at this limit now.
    #[must_use]
    pub fn error(&self, context: &CallContext) -> ToolError {
        let now = context.attempt_state().now();
        let elapsed = context.elapsed_at(now);
        ToolError::timeout(self.scope(), self.limit(), elapsed).with_overshoot(now.since(self.at))
    }
}

// === impl LimitWord ===

impl LimitWord {
    const SCOPE_BITS: u32 = 3;
    const SCOPE: u64 = (1 << Self::SCOPE_BITS) - 1;
    const MAX_NANOS: u64 = u64::MAX >> Self::SCOPE_BITS;

    #[inline]
    fn new(scope: TimeoutScope, limit: Duration) -> Self {
        Self::of_nanos(scope, nanos(limit).unwrap_or(u64::MAX))
    }

    #[inline]
    fn of_nanos(scope: TimeoutScope, nanos: u64) -> Self {
        Self(nanos.min(Self::MAX_NANOS) << Self::SCOPE_BITS | scope as u64)
    }

    fn scope(self) -> TimeoutScope {
        let scope = (self.0 & Self::SCOPE) as usize;
        SCOPES.get(scope).copied().unwrap_or(TimeoutScope::Total)
    }

    const fn limit(self) -> Duration {
        Duration::from_nanos(self.0 >> Self::SCOPE_BITS)
    }
}

/// The scopes in the order of their discriminants.
const SCOPES: [TimeoutScope; 5] = [
    TimeoutScope::Total,
    TimeoutScope::Deadline,
    TimeoutScope::Idle,
    TimeoutScope::FirstItem,
    TimeoutScope::Foreign,
];

// === impl AtomicBound ===

impl AtomicBound {
    pub(super) const fn none() -> Self {
        Self {
            at: AtomicMoment::none(),
            word: AtomicU64::new(0),
        }
    }

    #[inline]
    pub(super) fn get(&self) -> Option<Bound> {
        let at = self.at.get()?;
        let word = LimitWord(self.word.load(Ordering::Relaxed));
        Some(Bound { at, word })
    }

    #[inline]
    pub(super) fn set(&self, bound: Bound) {
        self.word.store(bound.word.0, Ordering::Relaxed);
        self.at.set(Some(bound.at));
    }
}

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
        assert_eq!(longest.limit(), Duration::from_nanos(u64::MAX >> 3));
    }
}
