//! Invariants:
//! 1. Whoever waits counts in `queued` before it looks at the rule for the last time, and whoever
//!    gives one back does so before it looks at `queued`, both `SeqCst`: so either the waiter finds
//!    what was given back, or the giver finds the waiter, and grants it under the lock. No wakeup is lost.
//! 2. Who comes while `queued` is not 0 takes nothing, but lines up: nobody is overtaken.
//! 3. A ticket is in `waiting`, or in `granted`, or its holder has taken it: it moves once, and is woken then.
//! 4. Wakers are called, and dropped, after the lock is let go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use toolbooth_core::Moment;

use super::driver::Drivers;
use super::{DEFAULT_QUEUE_CAPACITY, Rule};

/// The order of the line: the lowest is next.
pub(super) type Ticket = u64;

/// A limit and those who wait for it, shared by all clones of a layer.
#[derive(Debug)]
pub(crate) struct Line<R> {
    rule: R,
    queued: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) capacity: usize,
    pub(super) max_wait: Option<Duration>,
    pub(super) waiting: BTreeMap<Ticket, Waker>,
    pub(super) drivers: Drivers,
    granted: BTreeSet<Ticket>,
    next: Ticket,
}

// === impl Line ===

impl<R: Rule> Line<R> {
    pub(crate) const fn new(rule: R) -> Self {
        Self {
            rule,
            queued: AtomicUsize::new(0),
            state: Mutex::new(State {
                capacity: DEFAULT_QUEUE_CAPACITY,
                max_wait: None,
                waiting: BTreeMap::new(),
                drivers: Drivers::new(),
                granted: BTreeSet::new(),
                next: 0,
            }),
        }
    }

    pub(crate) fn set_capacity(&self, capacity: usize) {
        self.lock().capacity = capacity;
    }

    pub(crate) fn set_max_wait(&self, max_wait: Duration) {
        self.lock().max_wait = Some(max_wait);
    }

    /// The limit.
    pub(crate) const fn rule(&self) -> &R {
        &self.rule
    }

    /// How many wait.
    pub(crate) fn queued(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Takes one without waiting; never past somebody who waits.
    pub(crate) fn try_admit(&self, now: impl FnOnce() -> Moment) -> bool {
        self.queued.load(Ordering::SeqCst) == 0 && self.rule.admit(now)
    }

    /// Gives one back, to the first in line if there is one.
    pub(crate) fn refund(&self) {
        self.rule.refund();
        if self.queued.load(Ordering::SeqCst) > 0 {
            let next = self.grant(&mut self.lock(), Moment::now());
            next.into_iter().for_each(Waker::wake);
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last look before lining up: `true` takes one. Otherwise [`enqueue`](Self::enqueue) or [`settle`](Self::settle) follows.
    pub(super) fn last_look(&self, state: &State, now: Moment) -> bool {
        if state.waiting.is_empty() {
            self.queued.store(1, Ordering::SeqCst);
            if self.rule.admit(|| now) {
                self.settle(state);
                return true;
            }
        }
        false
    }

    pub(super) fn enqueue(&self, state: &mut State, waker: Waker) -> Ticket {
        let ticket = state.next;
        state.next += 1;
        state.waiting.insert(ticket, waker);
        self.settle(state);
        ticket
    }

    /// Publishes how many wait.
    pub(super) fn settle(&self, state: &State) {
        self.queued.store(state.waiting.len(), Ordering::SeqCst);
    }

    /// Admits the first in line if the rule does.
    pub(super) fn grant(&self, state: &mut State, now: Moment) -> Option<Waker> {
        let first = state.waiting.first_entry()?;
        if !self.rule.admit_waiting(now) {
            return None;
        }
        let (ticket, waker) = first.remove_entry();
        state.granted.insert(ticket);
        self.shrunk(state);
        Some(waker)
    }

    /// The holder of a ticket gives up: what it was granted goes to the next.
    pub(super) fn leave(&self, ticket: Ticket) {
        let mut state = self.lock();
        if state.granted.remove(&ticket) {
            drop(state);
            return self.refund();
        }
        let waker = state.waiting.remove(&ticket);
        self.shrunk(&mut state);
        drop(state);
        drop(waker);
    }

    fn shrunk(&self, state: &mut State) {
        self.settle(state);
        // Where nobody waits, nobody is to be driven.
        if state.waiting.is_empty() {
            state.drivers.stop();
        }
    }
}

// === impl State ===

impl State {
    /// Has a ticket's holder woken by this waker from now on; gives back the one before.
    pub(super) fn renew(&mut self, ticket: Ticket, waker: &Waker) -> Option<Waker> {
        let before = self
            .waiting
            .get_mut(&ticket)
            .filter(|before| !before.will_wake(waker))?;
        Some(std::mem::replace(before, waker.clone()))
    }

    /// Takes a granted ticket.
    pub(super) fn take(&mut self, ticket: Ticket) -> bool {
        self.granted.remove(&ticket)
    }
}
