//! The state machine of a circuit breaker. Pure, with the time as an argument.
//!
//! Invariants:
//! 1. Each change of the state starts a generation with an id of its own. Results of calls from
//!    earlier ones are ignored.
//! 2. While half-open, the running and the succeeded probes together are at most the configured
//!    ones.
//! 3. An attempt counts once in a generation. While half-open, everything inside of a probe passes
//!    and is not counted.
//! 4. There is no timer: transitions by time are applied at the next use.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use toolbooth_core::{LimitId, Moment, Part};

use super::policy::{BreakerPolicy, Rate};
use super::window::Window;

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

/// The result of a call, as the breaker counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Success,
    Failure,
    /// The tool rejects calls for this time: opens the breaker, and is not counted.
    CoolDown(Duration),
    /// The result is not counted.
    None,
}

/// A change of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) from: BreakerState,
    pub(super) to: BreakerState,
    /// The open time, if it opened and the time is known.
    pub(super) open_for: Option<Duration>,
}

/// A rejection, with the time until a call is admitted, if known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rejected {
    pub(super) retry_after: Option<Duration>,
}

/// The call that requests admission.
pub(super) trait Caller {
    /// Returns false if an outer layer has counted this attempt in the generation, and records
    /// otherwise that this layer counts it.
    fn count_once(&self, generation: LimitId) -> bool;

    /// Returns whether an outer layer, or a call above, was admitted in the generation.
    fn inherits(&self, generation: LimitId) -> bool;

    fn now(&self) -> Moment;
}

#[derive(Debug)]
pub(super) struct Rule {
    policy: BreakerPolicy,
    phase: Phase,
    generation: LimitId,
    /// Failures in a row.
    streak: u32,
    /// The number of times that it opened since it was closed.
    trips: u32,
    failures: Option<(Rate, Window)>,
    slow: Option<(Duration, Rate, Window)>,
    changes: VecDeque<Change>,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Closed,
    /// Until the moment, or until it is reset if there is none.
    Open {
        until: Option<Moment>,
    },
    HalfOpen {
        /// The time since which at least one probe has been running.
        since: Option<Moment>,
        running: u32,
        succeeded: u32,
    },
    Disabled,
}

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

// === impl Part ===

impl Caller for Part {
    #[inline]
    fn count_once(&self, generation: LimitId) -> bool {
        Self::count_once(self, generation)
    }

    fn inherits(&self, generation: LimitId) -> bool {
        Self::inherits(self, generation)
    }

    fn now(&self) -> Moment {
        Self::now(self)
    }
}

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
            generation: LimitId::unique(),
            streak: 0,
            trips: 0,
            failures,
            slow,
            changes: VecDeque::new(),
        }
    }

    /// Changes the rules. The state stays, and so do the counts of a window that stays the same.
    #[cfg(feature = "policy")]
    pub(super) fn set_policy(&mut self, policy: BreakerPolicy) {
        let failures = self.failures.take();
        self.failures = policy.failures.map(|rate| match failures {
            Some((before, window)) if before.over == rate.over => (rate, window),
            _ => (rate, Window::new(rate.over)),
        });
        let slow = self.slow.take();
        self.slow = policy.slow.map(|(limit, rate)| match slow {
            Some((_, before, window)) if before.over == rate.over => (limit, rate, window),
            _ => (limit, rate, Window::new(rate.over)),
        });
        self.policy = policy;
        // Fewer probes may suffice, of which no other would come.
        if let Phase::HalfOpen { succeeded, .. } = self.phase {
            if succeeded >= self.policy.probes {
                self.close();
            }
        }
    }

    /// Admits a call or rejects it. Returns the generation of a call that is counted.
    pub(super) fn admit(&mut self, caller: &impl Caller) -> Result<Option<LimitId>, Rejected> {
        let generation = self.generation;
        match self.phase {
            Phase::Closed => Ok(caller.count_once(generation).then_some(generation)),
            Phase::Disabled => Ok(None),
            Phase::Open { .. } | Phase::HalfOpen { .. } => self.admit_probe(caller),
        }
    }

    fn admit_probe(&mut self, caller: &impl Caller) -> Result<Option<LimitId>, Rejected> {
        let now = caller.now();
        self.catch_up(now);
        let generation = self.generation;
        match &mut self.phase {
            Phase::Open { until } => Err(Rejected {
                retry_after: until.map(|until| until.since(now)),
            }),
            Phase::HalfOpen { .. } if caller.inherits(generation) => Ok(None),
            Phase::HalfOpen {
                since,
                running,
                succeeded,
            } => {
                if *running + *succeeded >= self.policy.probes {
                    return Err(Rejected { retry_after: None });
                }
                since.get_or_insert(now);
                *running += 1;
                // Records the probe: nothing outside of it has.
                Ok(caller.count_once(generation).then_some(generation))
            }
            // Time neither closes nor disables it.
            Phase::Closed | Phase::Disabled => Ok(None),
        }
    }

    /// Records the result of a call that was admitted in `generation`. Called once for each call.
    ///
    /// `took` is used only if slow calls are counted.
    pub(super) fn record(
        &mut self,
        generation: LimitId,
        verdict: Verdict,
        took: Duration,
        mut now: impl FnMut() -> Moment,
    ) {
        if matches!(self.phase, Phase::HalfOpen { .. }) {
            // The limit of this probe may have expired before.
            self.catch_up(now());
        }
        if generation != self.generation {
            return;
        }
        let slow = self.slow.as_ref().is_some_and(|(slow, ..)| took >= *slow);
        if let Phase::HalfOpen { since, running, .. } = &mut self.phase {
            *running -= 1;
            if *running == 0 {
                *since = None;
            }
        }
        match (&mut self.phase, verdict) {
            (Phase::Open { .. } | Phase::Disabled, _) | (_, Verdict::None) => {}
            (_, Verdict::CoolDown(time)) => self.open_for(time, now()),
            (Phase::Closed, verdict) => {
                if self.count(verdict == Verdict::Failure, slow, &mut now) {
                    self.open(now());
                }
            }
            (Phase::HalfOpen { succeeded, .. }, Verdict::Success) if !slow => {
                *succeeded += 1;
                if *succeeded >= self.policy.probes {
                    self.close();
                }
            }
            (Phase::HalfOpen { .. }, Verdict::Success | Verdict::Failure) => self.open(now()),
        }
    }

    /// Returns the state at `now`.
    pub(super) fn state(&mut self, now: Moment) -> BreakerState {
        self.catch_up(now);
        self.current()
    }

    /// Returns whether calls that were admitted are probes.
    pub(super) const fn is_half_open(&self) -> bool {
        matches!(self.phase, Phase::HalfOpen { .. })
    }

    /// Returns the moment until which it rejects all calls.
    pub(super) fn shut_until(&self) -> Moment {
        match self.phase {
            Phase::Open { until } => until.unwrap_or(Moment::from_nanos(u64::MAX)),
            Phase::Closed | Phase::HalfOpen { .. } | Phase::Disabled => Moment::from_nanos(0),
        }
    }

    /// Opens it by hand, in any state.
    pub(super) fn trip(&mut self, now: Moment) {
        self.catch_up(now);
        self.open(now);
    }

    fn open(&mut self, now: Moment) {
        self.trips = self.trips.saturating_add(1);
        self.open_for(self.policy.open_for(self.trips), now);
    }

    fn open_for(&mut self, time: Duration, now: Moment) {
        let until = now.after(time);
        self.to(Phase::Open { until }, until.map(|_| time));
    }

    /// Closes it in any state, with empty windows.
    pub(super) fn close(&mut self) {
        self.trips = 0;
        self.to(Phase::Closed, None);
    }

    /// Admits all calls without counting, until it is closed or opened.
    pub(super) fn disable(&mut self) {
        self.to(Phase::Disabled, None);
    }

    /// Takes the oldest undelivered change.
    pub(super) fn next_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    pub(super) fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Counts one call; returns whether the breaker must open.
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

    /// Applies the transitions that time has caused by `now`.
    fn catch_up(&mut self, now: Moment) {
        if let Phase::HalfOpen {
            since: Some(since), ..
        } = self.phase
        {
            let expiry = since.after(self.policy.half_open_limit);
            if let Some(expired) = expiry.filter(|expiry| *expiry <= now) {
                self.open(expired);
            }
        }
        if let Phase::Open { until: Some(until) } = self.phase {
            if until <= now {
                let half_open = Phase::HalfOpen {
                    since: None,
                    running: 0,
                    succeeded: 0,
                };
                self.to(half_open, None);
            }
        }
    }

    fn to(&mut self, phase: Phase, open_for: Option<Duration>) {
        let from = self.current();
        self.phase = phase;
        self.generation = LimitId::unique();
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
        let full = self.changes.len() >= MAX_CHANGES;
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
