//! Invariants, all kept under the one lock:
//! 1. Somebody waits only while the rule admits nobody: whoever gives back, and the driver when the
//!    time has come, admit from the front until the rule refuses. So nobody is overtaken.
//! 2. A ticket is in `waiting`, or in `granted`, or its holder has taken it: it moves once, and is woken then.
//! 3. Wakers are called after the lock is let go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

use super::driver::Driver;
use super::{DEFAULT_QUEUE_CAPACITY, Rule};

/// The order of the line: the lowest is next.
pub(super) type Ticket = u64;

/// A limit and those who wait for it, shared by all clones of a layer.
#[derive(Debug)]
pub(crate) struct Line<R> {
    state: Mutex<State<R>>,
}

#[derive(Debug)]
pub(super) struct State<R> {
    pub(super) rule: R,
    pub(super) capacity: usize,
    pub(super) max_wait: Option<Duration>,
    pub(super) waiting: BTreeMap<Ticket, Waker>,
    pub(super) granted: BTreeSet<Ticket>,
    pub(super) driver: Driver,
    next: Ticket,
}

// === impl Line ===

impl<R: Rule> Line<R> {
    pub(crate) const fn new(rule: R) -> Self {
        Self {
            state: Mutex::new(State {
                rule,
                capacity: DEFAULT_QUEUE_CAPACITY,
                max_wait: None,
                waiting: BTreeMap::new(),
                granted: BTreeSet::new(),
                driver: Driver::new(),
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

    /// Takes one without waiting; never past somebody who waits.
    pub(crate) fn try_admit(&self, now: Instant) -> bool {
        self.lock().try_admit(now)
    }

    /// Gives one back, to the first in line if there is one.
    pub(crate) fn refund(&self) {
        let mut state = self.lock();
        state.rule.refund();
        let next = state.grant_next();
        drop(state);
        if let Some(next) = next {
            next.wake();
        }
    }

    /// How many wait.
    pub(crate) fn queued(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Looks at the rule.
    pub(crate) fn rule<T>(&self, look: impl FnOnce(&R) -> T) -> T {
        look(&self.lock().rule)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl<R: Rule> State<R> {
    pub(super) fn try_admit(&mut self, now: Instant) -> bool {
        self.waiting.is_empty() && self.rule.admit(now)
    }

    pub(super) fn enqueue(&mut self, waker: Waker) -> Ticket {
        let ticket = self.next;
        self.next += 1;
        self.waiting.insert(ticket, waker);
        ticket
    }

    /// Admits the first in line if the rule does.
    pub(super) fn grant(&mut self, now: Instant) -> Option<Waker> {
        let first = self.waiting.first_entry()?;
        if !self.rule.admit_waiting(now) {
            return None;
        }
        let (ticket, waker) = first.remove_entry();
        self.granted.insert(ticket);
        Some(waker)
    }

    fn grant_next(&mut self) -> Option<Waker> {
        // No look at the clock where nobody waits.
        if self.waiting.is_empty() {
            return None;
        }
        let next = self.grant(Instant::now());
        self.rest();
        next
    }

    /// Takes a granted ticket.
    pub(super) fn take(&mut self, ticket: Ticket) -> bool {
        self.granted.remove(&ticket)
    }

    /// The holder of a ticket gives up: what it was granted goes to the next.
    pub(super) fn leave(&mut self, ticket: Ticket) -> Option<Waker> {
        if self.granted.remove(&ticket) {
            self.rule.refund();
            return self.grant_next();
        }
        self.waiting.remove(&ticket);
        self.rest();
        None
    }

    /// Where nobody waits, nobody is to be driven.
    fn rest(&mut self) {
        if self.waiting.is_empty() {
            self.driver.stop();
        }
    }
}
