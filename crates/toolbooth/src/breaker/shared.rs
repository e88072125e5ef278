//! A circuit breaker shared between threads.
//!
//! Invariants:
//! 1. The rule is used under the lock.
//! 2. Listeners are called without the lock, by one thread at a time, in the order of the changes.

use std::time::Duration;

use toolbooth_core::{LimitId, Moment, Name};

use super::change::{BreakerState, Change};
use super::counting::Counting;
use super::listeners::Listeners;
use super::policy::BreakerPolicy;
use super::rule::{Caller, Rejected, Rule, Verdict};
use crate::middleware::sync::atomic::{AtomicBool, Ordering};
use crate::middleware::sync::{Arc, Mutex, lock};

/// A circuit breaker.
#[derive(Debug)]
pub(super) struct Breaker {
    state: Mutex<State>,
    /// The key, if there is a breaker for each key.
    key: Option<Name>,
    listeners: Arc<Listeners>,
    counting: Counting,
    /// Whether slow calls are counted.
    timed: AtomicBool,
}

#[derive(Debug)]
struct State {
    rule: Rule,
    /// Whether a thread is calling the listeners.
    notifying: bool,
    /// The number of the last action on all breakers of the layer that was applied here.
    last_act: u64,
}

/// The actions by hand on all breakers of a layer so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Acts {
    /// Whether new breakers are disabled.
    pub(super) disabled: bool,
    /// The number of actions.
    pub(super) count: u64,
}

/// An action on breakers by hand.
#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    Trip,
    Reset,
    Disable,
}

// === impl Breaker ===

impl Breaker {
    pub(super) fn new(
        policy: BreakerPolicy,
        key: Option<Name>,
        listeners: Arc<Listeners>,
        acts: Acts,
    ) -> Self {
        let (timed, counting) = (policy.slow.is_some(), policy.counting.clone());
        let mut rule = Rule::new(policy);
        if acts.disabled {
            rule.disable();
            // The initial state is no change to report.
            rule.next_change();
        }
        Self {
            state: Mutex::new(State {
                rule,
                notifying: false,
                last_act: acts.count,
            }),
            key,
            listeners,
            counting,
            timed: AtomicBool::new(timed),
        }
    }

    /// Returns whether slow calls are counted.
    pub(super) fn is_timed(&self) -> bool {
        self.timed.load(Ordering::Relaxed)
    }

    /// Changes the rules, and keeps the state.
    #[cfg(feature = "policy")]
    pub(super) fn set_policy(&self, policy: BreakerPolicy) {
        self.timed.store(policy.slow.is_some(), Ordering::Relaxed);
        self.locked(|rule| rule.set_policy(policy));
    }

    /// Returns the settings that decide how results are counted.
    pub(super) const fn counting(&self) -> &Counting {
        &self.counting
    }

    /// Returns the callbacks for changes of the state.
    pub(super) const fn listeners(&self) -> &Arc<Listeners> {
        &self.listeners
    }

    /// Admits a call or rejects it. Returns the generation of a call that is counted, and whether
    /// the call is a probe.
    pub(super) fn admit(&self, caller: &impl Caller) -> Result<Option<(LimitId, bool)>, Rejected> {
        self.locked(|rule| {
            let generation = rule.admit(caller)?;
            Ok(generation.map(|generation| (generation, rule.is_half_open())))
        })
    }

    /// Records the result of a call that was admitted in `generation`. Called once for each call.
    pub(super) fn record(
        &self,
        generation: LimitId,
        verdict: Verdict,
        took: Duration,
        now: impl FnMut() -> Moment,
    ) {
        self.locked(|rule| rule.record(generation, verdict, took, now));
    }

    /// Returns the moment from which an unused breaker may be evicted.
    pub(super) fn forgettable_from(&self) -> Moment {
        self.locked(|rule| rule.shut_until())
    }

    /// Reports the end of its state, after its key has lost it.
    pub(super) fn forget(&self) {
        self.locked(Rule::forget);
    }

    pub(super) fn state(&self, now: Moment) -> BreakerState {
        self.locked(|rule| rule.state(now))
    }

    pub(super) fn act(&self, act: Act, now: Moment) {
        self.locked(|rule| act.on(rule, now));
    }

    /// Applies the `turn`-th action on all breakers of the layer, unless a later one was applied.
    ///
    /// Without this order, concurrent actions could leave the breakers in different states.
    pub(super) fn act_in_turn(&self, turn: u64, act: Act, now: Moment) {
        self.with_lock(|state| {
            if turn > state.last_act {
                state.last_act = turn;
                act.on(&mut state.rule, now);
            }
        });
    }

    fn locked<T>(&self, apply: impl FnOnce(&mut Rule) -> T) -> T {
        self.with_lock(|state| apply(&mut state.rule))
    }

    fn with_lock<T>(&self, apply: impl FnOnce(&mut State) -> T) -> T {
        let mut state = lock(&self.state);
        let result = apply(&mut state);
        // The notifying thread continues until no change is left.
        let notifies = state.rule.has_changes() && !state.notifying;
        state.notifying |= notifies;
        drop(state);
        if notifies {
            self.notify();
        }
        result
    }

    fn notify(&self) {
        while let Some(change) = self.next_change() {
            self.listeners.notify(self.key.as_ref(), change);
        }
    }

    fn next_change(&self) -> Option<Change> {
        let mut state = lock(&self.state);
        let next = state.rule.next_change();
        state.notifying = next.is_some();
        next
    }
}

// === impl Act ===

impl Act {
    fn on(self, rule: &mut Rule, now: Moment) {
        match self {
            Self::Trip => rule.trip(now),
            Self::Reset => rule.reset(),
            Self::Disable => rule.disable(),
        }
    }
}
