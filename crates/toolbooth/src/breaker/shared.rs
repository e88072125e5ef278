//! One circuit breaker, as threads share it.
//!
//! Invariants:
//! 1. The rule is asked under the lock; `gate` is written under the lock, and says of the rule what it was when the lock was last let go.
//! 2. Who passes by `gate` alone was admitted in the generation that it names: should the breaker open meanwhile, that call counts no more.
//! 3. Listeners are told after the lock is let go, by one thread at a time and in the order of the changes.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use toolbooth_core::{Moment, Name};

use super::counting::Counting;
use super::policy::BreakerPolicy;
use super::rule::{BreakerState, Change, Gate, Refused, Rule, Verdict};
use crate::middleware::sync::atomic::{AtomicU64, Ordering};
use crate::middleware::sync::{Arc, Mutex, lock};

/// A circuit breaker. The gate, at which every call looks, lies beside the count of the handles.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Breaker {
    gate: AtomicU64,
    locked: Mutex<Locked>,
    /// Where there is one for each key.
    key: Option<Name>,
    listeners: Arc<Listeners>,
    counting: Counting,
    timed: bool,
}

#[derive(Debug)]
struct Locked {
    rule: Rule,
    /// Whether some thread is telling the listeners.
    telling: bool,
    /// The last act on all breakers of its layer that was done here.
    last_act: u64,
}

/// What was done by hand to all breakers of a layer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Acts {
    /// Whether new breakers are disabled.
    pub(super) disabled: bool,
    pub(super) count: u64,
}

/// What is done to breakers by hand.
#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    Trip,
    Reset,
    Disable,
}

/// A circuit breaker went from one state to another.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StateChange {
    /// The tool, or the key, where there is a breaker for each.
    pub key: Option<Name>,
    /// What it was.
    pub from: BreakerState,
    /// What it is.
    pub to: BreakerState,
    /// How long it stays open, where it has opened and the time is limited.
    pub open_for: Option<Duration>,
}

type Listener = dyn Fn(&StateChange) + Send + Sync;

/// Who is told of changes.
#[derive(Default)]
pub(super) struct Listeners(Mutex<Vec<Arc<Listener>>>);

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
            // It was made so: there is nothing to tell.
            rule.next_change();
        }
        Self {
            gate: AtomicU64::new(rule.gate().bits()),
            locked: Mutex::new(Locked {
                rule,
                telling: false,
                last_act: acts.count,
            }),
            key,
            listeners,
            counting,
            timed,
        }
    }

    /// Whether it matters how long a call takes.
    pub(super) const fn is_timed(&self) -> bool {
        self.timed
    }

    /// Which ends of calls count.
    pub(super) const fn counting(&self) -> &Counting {
        &self.counting
    }

    /// Who is told of its changes.
    pub(super) const fn listeners(&self) -> &Arc<Listeners> {
        &self.listeners
    }

    /// The generation, where every call is let through.
    #[inline]
    pub(super) fn passes(&self) -> Option<u64> {
        self.gate().is_free()
    }

    /// Lets a call through, and gives the generation in which it was; or refuses it.
    pub(super) fn admit(&self, now: impl FnOnce() -> Moment) -> Result<u64, Refused> {
        match self.passes() {
            Some(generation) => Ok(generation),
            None => self.locked(|rule| rule.admit(now())),
        }
    }

    /// Takes the result of a call that was let through in that generation: once, whatever it is.
    pub(super) fn record(
        &self,
        generation: u64,
        verdict: Verdict,
        took: Duration,
        now: impl FnMut() -> Moment,
    ) {
        if !self.gate().ignores(generation, verdict) {
            self.locked(|rule| rule.record(generation, verdict, took, now));
        }
    }

    /// From when on it may be forgotten, if nobody uses it.
    pub(super) fn forgettable_from(&self) -> Moment {
        match self.passes() {
            Some(_) => Moment::from_nanos(0),
            None => self.locked(|rule| rule.shut_until()),
        }
    }

    pub(super) fn state(&self, now: Moment) -> BreakerState {
        self.locked(|rule| rule.state(now))
    }

    pub(super) fn act(&self, act: Act, now: Moment) {
        self.locked(|rule| act.on(rule, now));
    }

    /// Does the so manieth act on all breakers of the layer; but not after a later one, else some of them would
    /// end up as the one says, and others as the other.
    pub(super) fn act_in_turn(&self, turn: u64, act: Act, now: Moment) {
        self.with_lock(|locked| {
            if turn > locked.last_act {
                locked.last_act = turn;
                act.on(&mut locked.rule, now);
            }
        });
    }

    fn gate(&self) -> Gate {
        Gate::from_bits(self.gate.load(Ordering::Acquire))
    }

    fn locked<T>(&self, ask: impl FnOnce(&mut Rule) -> T) -> T {
        self.with_lock(|locked| ask(&mut locked.rule))
    }

    fn with_lock<T>(&self, ask: impl FnOnce(&mut Locked) -> T) -> T {
        let mut locked = lock(&self.locked);
        let told = ask(&mut locked);
        self.gate
            .store(locked.rule.gate().bits(), Ordering::Release);
        // Whoever tells goes on until there is nothing left to tell.
        let tells = locked.rule.has_changes() && !locked.telling;
        locked.telling |= tells;
        drop(locked);
        if tells {
            self.tell();
        }
        told
    }

    fn tell(&self) {
        while let Some(Change { from, to, open_for }) = self.next_change() {
            let key = self.key.clone();
            tracing::info!(
                key = key.as_deref(),
                ?from,
                ?to,
                ?open_for,
                "circuit breaker"
            );
            self.listeners.tell(&StateChange {
                key,
                from,
                to,
                open_for,
            });
        }
    }

    fn next_change(&self) -> Option<Change> {
        let mut locked = lock(&self.locked);
        let next = locked.rule.next_change();
        locked.telling = next.is_some();
        next
    }
}

// === impl Act ===

impl Act {
    fn on(self, rule: &mut Rule, now: Moment) {
        match self {
            Self::Trip => rule.trip(now),
            Self::Reset => rule.close(),
            Self::Disable => rule.disable(),
        }
    }
}

// === impl Listeners ===

impl Listeners {
    pub(super) fn add(&self, listener: impl Fn(&StateChange) + Send + Sync + 'static) {
        lock(&self.0).push(Arc::new(listener));
    }

    /// Returns another list of the same listeners.
    pub(super) fn copy(&self) -> Self {
        Self(Mutex::new(lock(&self.0).clone()))
    }

    fn tell(&self, change: &StateChange) {
        let listeners = lock(&self.0).clone();
        for listener in listeners {
            if catch_unwind(AssertUnwindSafe(|| listener(change))).is_err() {
                tracing::error!("a listener of a circuit breaker panicked");
            }
        }
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listeners").finish_non_exhaustive()
    }
}
