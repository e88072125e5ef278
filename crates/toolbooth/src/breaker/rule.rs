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

use std::time::Duration;

use toolbooth_core::{LimitId, Moment, Part};

use super::change::{BreakerState, Change, Changes, Why};
use super::policy::{BreakerPolicy, Rate};
use super::window::Window;

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
    changes: Changes,
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
            changes: Changes::default(),
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
                self.close(Why::Policy);
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
            (_, Verdict::CoolDown(time)) => self.open_for(time, now(), Why::CoolDown),
            (Phase::Closed, verdict) => {
                if let Some(why) = self.count(verdict == Verdict::Failure, slow, &mut now) {
                    self.open(now(), why);
                }
            }
            (Phase::HalfOpen { succeeded, .. }, Verdict::Success) if !slow => {
                *succeeded += 1;
                if *succeeded >= self.policy.probes {
                    self.close(Why::ProbesSucceeded);
                }
            }
            (Phase::HalfOpen { .. }, Verdict::Success | Verdict::Failure) => {
                self.open(now(), Why::ProbeFailed);
            }
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
        self.open(now, Why::ByHand);
    }

    fn open(&mut self, now: Moment, why: Why) {
        self.trips = self.trips.saturating_add(1);
        self.open_for(self.policy.open_for(self.trips), now, why);
    }

    fn open_for(&mut self, time: Duration, now: Moment, why: Why) {
        let until = now.after(time);
        self.to(Phase::Open { until }, until.map(|_| time), why);
    }

    /// Closes it by hand, in any state.
    pub(super) fn reset(&mut self) {
        self.close(Why::ByHand);
    }

    /// Closes it if it counted as open: a call with its key creates a new one.
    pub(super) fn forget(&mut self) {
        if matches!(self.phase, Phase::Open { .. } | Phase::HalfOpen { .. }) {
            self.close(Why::Forgotten);
        }
    }

    /// Closes it in any state, with empty windows.
    fn close(&mut self, why: Why) {
        self.trips = 0;
        self.to(Phase::Closed, None, why);
    }

    /// Admits all calls without counting, until it is closed or opened.
    pub(super) fn disable(&mut self) {
        self.to(Phase::Disabled, None, Why::ByHand);
    }

    /// Takes the oldest undelivered change.
    pub(super) fn next_change(&mut self) -> Option<Change> {
        self.changes.next()
    }

    pub(super) fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Counts one call; returns why the breaker must open, if it must.
    fn count(&mut self, failed: bool, slow: bool, now: &mut impl FnMut() -> Moment) -> Option<Why> {
        let minimum = self.policy.minimum;
        self.streak = if failed {
            self.streak.saturating_add(1)
        } else {
            0
        };
        let limit = self.policy.failures_in_a_row();
        let in_a_row = limit.is_some_and(|limit| self.streak >= limit);
        let mut why = in_a_row.then_some(Why::Failures);
        let mut over = |rate: Rate, window: &mut Window, hit: bool| {
            let counts = window.record(hit, &mut *now);
            counts.calls >= rate.minimum(minimum) && rate.is_reached(counts.hits, counts.calls)
        };
        if let Some((rate, window)) = &mut self.failures {
            let is_over = over(*rate, window, failed);
            why = why.or(is_over.then_some(Why::FailureRate));
        }
        if let Some((_, rate, window)) = &mut self.slow {
            let is_over = over(*rate, window, slow);
            why = why.or(is_over.then_some(Why::SlowCalls));
        }
        why
    }

    /// Applies the transitions that time has caused by `now`.
    fn catch_up(&mut self, now: Moment) {
        if let Phase::HalfOpen {
            since: Some(since), ..
        } = self.phase
        {
            let expiry = since.after(self.policy.half_open_limit);
            if let Some(expired) = expiry.filter(|expiry| *expiry <= now) {
                self.open(expired, Why::ProbeExpired);
            }
        }
        if let Phase::Open { until: Some(until) } = self.phase {
            if until <= now {
                let half_open = Phase::HalfOpen {
                    since: None,
                    running: 0,
                    succeeded: 0,
                };
                self.to(half_open, None, Why::OpenTime);
            }
        }
    }

    fn to(&mut self, phase: Phase, open_for: Option<Duration>, why: Why) {
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
        if from != to {
            self.changes.push(Change {
                from,
                to,
                open_for,
                why,
            });
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
