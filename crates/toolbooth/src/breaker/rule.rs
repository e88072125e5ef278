//! What a circuit breaker decides: pure, with the time as an argument.
//!
//! Invariants:
//! 1. Every change of the state begins a generation. What was admitted in an earlier one changes nothing.
//! 2. While half-open, probes under way and probes that succeeded are never more than there may be.
//! 3. It has no timer: what time has brought about is caught up with when it is next asked.

use std::collections::VecDeque;
use std::time::Duration;

use toolbooth_core::Moment;

use super::policy::{BreakerPolicy, Rate};
use super::window::Window;

/// Where a circuit breaker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BreakerState {
    /// Calls go through and are counted.
    Closed,
    /// Calls are refused.
    Open,
    /// As many calls go through as it probes with; the others are refused.
    HalfOpen,
    /// Calls go through and are not counted.
    Disabled,
}

/// What a call tells about its tool. A whole word, since what moves with a call in uneven pieces costs a multiple.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Verdict {
    Success,
    Failure,
    /// Nothing.
    None,
}

/// A change of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) from: BreakerState,
    pub(super) to: BreakerState,
    /// How long it stays open, where it opened and that is known.
    pub(super) open_for: Option<Duration>,
}

/// No: and after how long to ask again, where that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) retry_after: Option<Duration>,
}

/// What can be said of the state without a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gate(u64);

#[derive(Debug)]
pub(super) struct Rule {
    policy: BreakerPolicy,
    phase: Phase,
    generation: u64,
    /// Failures in a row.
    streak: u32,
    /// How often it opened since it was closed.
    trips: u32,
    failures: Option<(Rate, Window)>,
    slow: Option<(Duration, Rate, Window)>,
    changes: VecDeque<Change>,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Closed,
    /// Until then, or until it is reset.
    Open {
        until: Option<Moment>,
    },
    HalfOpen {
        /// From when on probes have been under way without a break.
        since: Option<Moment>,
        under_way: u32,
        passed: u32,
    },
    Disabled,
}

/// Changes that nobody has taken yet are merged from so many on.
const MOST_CHANGES: usize = 64;

// === impl Rule ===

impl Rule {
    pub(super) fn new(policy: BreakerPolicy) -> Self {
        let failures = policy.failures.map(|rate| (rate, Window::new(rate.over)));
        let slow = policy
            .slow
            .map(|(slow, rate)| (slow, rate, Window::new(rate.over)));
        Self {
            policy,
            phase: Phase::Closed,
            generation: 0,
            streak: 0,
            trips: 0,
            failures,
            slow,
            changes: VecDeque::new(),
        }
    }

    /// Lets a call through, and gives the generation in which it was; or refuses it.
    pub(super) fn admit(&mut self, now: Moment) -> Result<u64, Refused> {
        self.catch_up(now);
        match &mut self.phase {
            Phase::Closed | Phase::Disabled => Ok(self.generation),
            Phase::Open { until } => Err(Refused {
                retry_after: until.map(|until| until.since(now)),
            }),
            Phase::HalfOpen {
                since,
                under_way,
                passed,
            } => {
                if *under_way + *passed >= self.policy.probes {
                    return Err(Refused { retry_after: None });
                }
                since.get_or_insert(now);
                *under_way += 1;
                Ok(self.generation)
            }
        }
    }

    /// Takes the result of a call that was admitted in that generation, once. How long it took matters only where slow calls are counted.
    pub(super) fn record(
        &mut self,
        generation: u64,
        verdict: Verdict,
        took: Duration,
        mut now: impl FnMut() -> Moment,
    ) {
        if matches!(self.phase, Phase::HalfOpen { .. }) {
            // A probe that comes back too late was given up before.
            self.catch_up(now());
        }
        if generation != self.generation {
            return;
        }
        let slow = self.slow.as_ref().is_some_and(|(slow, ..)| took >= *slow);
        match &mut self.phase {
            Phase::Closed if verdict == Verdict::None => {}
            Phase::Closed => {
                if self.count(verdict == Verdict::Failure, slow, &mut now) {
                    self.open(now());
                }
            }
            Phase::HalfOpen {
                since,
                under_way,
                passed,
            } => {
                *under_way -= 1;
                if *under_way == 0 {
                    *since = None;
                }
                match verdict {
                    Verdict::None => {}
                    Verdict::Success if !slow => {
                        *passed += 1;
                        if *passed >= self.policy.probes {
                            self.close();
                        }
                    }
                    Verdict::Success | Verdict::Failure => self.open(now()),
                }
            }
            Phase::Open { .. } | Phase::Disabled => {}
        }
    }

    /// The state, as it is at this time.
    pub(super) fn state(&mut self, now: Moment) -> BreakerState {
        self.catch_up(now);
        self.current()
    }

    /// Until when it refuses calls at the least.
    pub(super) fn shut_until(&self) -> Moment {
        match self.phase {
            Phase::Open { until } => until.unwrap_or(Moment::from_nanos(u64::MAX)),
            Phase::Closed | Phase::HalfOpen { .. } | Phase::Disabled => Moment::from_nanos(0),
        }
    }

    /// Opens it by hand, whatever it is at this time.
    pub(super) fn trip(&mut self, now: Moment) {
        self.catch_up(now);
        self.open(now);
    }

    fn open(&mut self, now: Moment) {
        self.trips = self.trips.saturating_add(1);
        let open_for = self.policy.open_for(self.trips);
        let until = now.after(open_for);
        self.to(Phase::Open { until }, until.map(|_| open_for));
    }

    /// Closes it, whatever it was; nothing is counted yet.
    pub(super) fn close(&mut self) {
        self.trips = 0;
        self.to(Phase::Closed, None);
    }

    /// Lets everything through, until it is closed or opened.
    pub(super) fn disable(&mut self) {
        self.to(Phase::Disabled, None);
    }

    /// The oldest change that nobody has taken yet.
    pub(super) fn next_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    pub(super) fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    pub(super) fn gate(&self) -> Gate {
        let failures = self.failures.as_ref();
        let is_clean = self.streak == 0
            && self.slow.is_none()
            && failures.is_none_or(|(_, window)| window.is_clean());
        Gate(
            self.generation << 2
                | match self.phase {
                    Phase::Closed if is_clean => Gate::CLEAN,
                    Phase::Closed => Gate::CLOSED,
                    Phase::Open { .. } | Phase::HalfOpen { .. } => Gate::GUARDED,
                    Phase::Disabled => Gate::DISABLED,
                },
        )
    }

    /// Counts one call; true if it is one too many.
    fn count(&mut self, failed: bool, slow: bool, now: &mut impl FnMut() -> Moment) -> bool {
        let minimum = self.policy.minimum;
        self.streak = if failed {
            self.streak.saturating_add(1)
        } else {
            0
        };
        let limit = self.policy.failures_in_a_row();
        let mut trips = limit.is_some_and(|limit| self.streak >= limit);
        let mut over = |rate: Rate, window: &mut Window, hit: bool| {
            let counts = window.record(hit, &mut *now);
            counts.calls >= rate.minimum(minimum) && rate.is_reached(counts.hits, counts.calls)
        };
        if let Some((rate, window)) = &mut self.failures {
            trips |= over(*rate, window, failed);
        }
        if let Some((_, rate, window)) = &mut self.slow {
            trips |= over(*rate, window, slow);
        }
        trips
    }

    fn catch_up(&mut self, now: Moment) {
        if let Phase::HalfOpen {
            since: Some(since), ..
        } = self.phase
        {
            let given_up = since.after(self.policy.half_open_limit);
            if let Some(given_up) = given_up.filter(|given_up| *given_up <= now) {
                self.open(given_up);
            }
        }
        if let Phase::Open { until: Some(until) } = self.phase {
            if until <= now {
                let half_open = Phase::HalfOpen {
                    since: None,
                    under_way: 0,
                    passed: 0,
                };
                self.to(half_open, None);
            }
        }
    }

    fn to(&mut self, phase: Phase, open_for: Option<Duration>) {
        let from = self.current();
        self.phase = phase;
        self.generation += 1;
        self.streak = 0;
        if let Some((_, window)) = &mut self.failures {
            window.clear();
        }
        if let Some((.., window)) = &mut self.slow {
            window.clear();
        }
        let to = self.current();
        if from == to {
            return;
        }
        let full = self.changes.len() >= MOST_CHANGES;
        match self.changes.back_mut().filter(|_| full) {
            Some(last) => (last.to, last.open_for) = (to, open_for),
            None => self.changes.push_back(Change { from, to, open_for }),
        }
    }

    const fn current(&self) -> BreakerState {
        match self.phase {
            Phase::Closed => BreakerState::Closed,
            Phase::Open { .. } => BreakerState::Open,
            Phase::HalfOpen { .. } => BreakerState::HalfOpen,
            Phase::Disabled => BreakerState::Disabled,
        }
    }
}

// === impl Gate ===

impl Gate {
    /// Closed, and a success changes nothing.
    const CLEAN: u64 = 0;
    const CLOSED: u64 = 1;
    const GUARDED: u64 = 2;
    const DISABLED: u64 = 3;

    pub(super) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(super) const fn bits(self) -> u64 {
        self.0
    }

    /// The generation, if every call may pass.
    pub(super) const fn is_free(self) -> Option<u64> {
        match self.0 & 3 {
            Self::GUARDED => None,
            _ => Some(self.0 >> 2),
        }
    }

    /// Whether the result of a call that was admitted in that generation changes nothing.
    pub(super) fn ignores(self, generation: u64, verdict: Verdict) -> bool {
        self.0 >> 2 != generation
            || match self.0 & 3 {
                Self::CLEAN => verdict != Verdict::Failure,
                Self::CLOSED => verdict == Verdict::None,
                Self::GUARDED => false,
                _ => true,
            }
    }
}
