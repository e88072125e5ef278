//! Invariants:
//! 1. Whoever waits sets `awaited` before it looks at the rule for the last time, and whoever
//!    gives back does so before it looks at `awaited`, both `SeqCst`: so either the waiter finds
//!    what was given back, or the giver finds the waiter, and grants it under the lock. No wakeup is lost.
//! 2. Who comes while `awaited` is set takes nothing past the order of the line: it lines up, and is admitted then if it is next.
//! 3. A ticket waits until it is served or expelled: that happens once, and its holder is woken then. Only its holder gives it back.
//! 4. Wakers are called, and dropped, after the lock is let go; what users gave is called without it, too.
//! 5. Whatever makes somebody else the first, or more of the limit free, grants as long as the first is admitted:
//!    nobody waits for what is there. Only the clock does so without an event. The drivers of a line that waits for points in
//!    time wait for that, and who lines up looks, too, since they must wait for their turn to run; in another, who is the first by age alone is seen at the next event, as the orders' docs say.
//! 6. Nobody waits for more than the limit can ever give: it is refused where it comes, and where the limit is lowered it
//!    loses its ticket, is woken and finds that out.

use std::task::Waker;
use std::time::Duration;

use toolbooth_core::Moment;

use super::driver::Drivers;
use super::order::{MOST, Order, Queue, Standing, Ticket, Who};
use super::{DEFAULT_QUEUE_CAPACITY, Rule};
use crate::middleware::sync::atomic::{AtomicBool, Ordering};
use crate::middleware::sync::{Arc, Mutex, MutexGuard, lock};

/// A limit and those who wait for it, shared by all clones of a layer.
///
/// In this order: what every call looks at lies beside the count of the handles, so that threads which share it fetch it at once.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Line<R> {
    rule: R,
    /// Whether anybody waits, or looks for the last time. Written under the lock alone.
    awaited: AtomicBool,
    state: Mutex<State>,
}

/// What may be said of a line.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) capacity: usize,
    pub(crate) max_wait: Option<Duration>,
    /// `None`: first come, first served.
    pub(crate) order: Option<Arc<Order>>,
    pub(crate) service_time: Option<Duration>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) settings: Settings,
    pub(super) waiting: Queue<Waker>,
    pub(super) drivers: Drivers,
    /// Whether who lines up may start later than could be told then: others may overtake it, or the limit was changed.
    pub(super) uncertain: bool,
}

// === impl Line ===

impl<R: Rule> Line<R> {
    pub(crate) fn new(rule: R) -> Self {
        Self::with(rule, Settings::default())
    }

    pub(crate) fn with(rule: R, settings: Settings) -> Self {
        let mut state = State {
            settings: Settings::default(),
            waiting: Queue::new(),
            drivers: Drivers::new(),
            uncertain: false,
        };
        rule.set_service_time(settings.service_time);
        state.set(settings);
        Self {
            rule,
            awaited: AtomicBool::new(false),
            state: Mutex::new(state),
        }
    }

    /// Changes what is said of the line; those who wait stay.
    pub(crate) fn configure(&self, change: impl FnOnce(&mut Settings)) {
        let mut state = self.lock();
        let mut settings = state.settings.clone();
        change(&mut settings);
        self.rule.set_service_time(settings.service_time);
        let before = state.set(settings);
        // In another order another one may be first, who need not wait as long, or at all.
        self.look_anew(state, Vec::new());
        drop(before);
    }

    /// The limit.
    pub(crate) const fn rule(&self) -> &R {
        &self.rule
    }

    /// Changes the limit. Those who wait stay, as far as it can ever admit them: who may run by now does, and the others wait anew.
    pub(crate) fn change(&self, change: impl FnOnce(&R)) {
        let mut state = self.lock();
        change(&self.rule);
        state.uncertain = true;
        let expelled = state.waiting.expel(self.rule.capacity());
        self.shrunk(&mut state);
        self.look_anew(state, expelled);
    }

    /// Admits who may run by now; where the clock says when, the others reckon anew.
    fn look_anew(&self, mut state: MutexGuard<'_, State>, mut woken: Vec<Waker>) {
        let now = Moment::now();
        woken.extend(std::iter::from_fn(|| self.grant(&mut state, now)));
        if R::TIMED {
            woken.extend(state.waiting.iter().cloned());
            woken.extend(state.drivers.wakers(None));
        }
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }

    /// How many wait.
    pub(crate) fn queued(&self) -> usize {
        self.lock().waiting.len()
    }

    /// When a call that lines up behind all who wait will be admitted at the earliest.
    #[cfg_attr(
        not(feature = "rate"),
        expect(dead_code, reason = "only a rate knows when")
    )]
    pub(crate) fn due(&self, cost: u64, now: Moment) -> Option<Moment> {
        let ahead = self.lock().waiting.cost();
        self.rule.due(ahead, cost, now)
    }

    /// Takes without waiting; never past somebody who waits.
    pub(crate) fn try_admit(&self, cost: u64, now: impl FnOnce() -> Moment) -> bool {
        !self.awaited.load(Ordering::SeqCst) && self.rule.admit(cost, now)
    }

    /// Gives back, to whoever is next if somebody waits.
    pub(crate) fn refund(&self, cost: u64) {
        self.rule.refund(cost);
        if self.awaited.load(Ordering::SeqCst) {
            let state = self.lock();
            let most = match state.waiting.is_uniform() {
                true => cost,
                false => u64::MAX,
            };
            self.pass_on(state, most);
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The last look before lining up: `true` takes. Otherwise [`enqueue`](Self::enqueue) or [`settle`](Self::settle) follows.
    pub(super) fn last_look(&self, state: &State, cost: u64, now: Moment) -> bool {
        if state.waiting.is_empty() {
            self.awaited.store(true, Ordering::SeqCst);
            if self.rule.admit(cost, || now) {
                self.settle(state);
                return true;
            }
        }
        false
    }

    /// Lines up; its waker comes back where it is next at once, and has been admitted.
    pub(super) fn enqueue(
        &self,
        state: &mut State,
        who: Who,
        waker: Waker,
    ) -> Result<Ticket, Waker> {
        let (now, first) = (who.since, state.waiting.is_empty());
        let ticket = state.waiting.push(who, waker);
        self.settle(state);
        // The first of all has had its last look.
        let in_vain = first || state.waiting.is_uniform();
        if in_vain || state.waiting.first(now).map(|(next, _)| next) != Some(ticket) {
            return Ok(ticket);
        }
        match self.grant(state, now) {
            // Its own waker, and its own task is running.
            Some(waker) => {
                state.waiting.leave(ticket);
                Err(waker)
            }
            None => Ok(ticket),
        }
    }

    /// Publishes whether anybody waits.
    pub(super) fn settle(&self, state: &State) {
        let awaited = !state.waiting.is_empty();
        // Mostly it stays so, and a store that all threads see in one order waits for all others before it.
        if self.awaited.load(Ordering::Relaxed) != awaited {
            self.awaited.store(awaited, Ordering::SeqCst);
        }
    }

    /// Admits the first in line if the rule does.
    pub(super) fn grant(&self, state: &mut State, now: Moment) -> Option<Waker> {
        let (ticket, cost) = state.waiting.first(now)?;
        if !self.rule.admit_waiting(cost, now) {
            return None;
        }
        let waker = state.waiting.serve(ticket)?;
        self.shrunk(state);
        Some(waker)
    }

    /// Admits all whose time has come, where the clock says so.
    pub(super) fn grant_due(&self, state: &mut State, now: Moment, woken: &mut Vec<Waker>) {
        if R::TIMED {
            woken.extend(std::iter::from_fn(|| self.grant(state, now)));
        }
    }

    /// The holder of a ticket gives up: what it was granted goes to the next, and so does its place.
    pub(super) fn leave(&self, ticket: Ticket, cost: u64) {
        let mut state = self.lock();
        if state.waiting.standing(ticket) == Standing::Served {
            state.waiting.leave(ticket);
            drop(state);
            return self.refund(cost);
        }
        // Where all take one, nothing is free that one who gives up could have kept from the others.
        let most = match state.waiting.is_uniform() {
            true => 0,
            false => u64::MAX,
        };
        let waker = state.waiting.leave(ticket);
        self.shrunk(&mut state);
        self.pass_on(state, most);
        drop(waker);
    }

    /// Admits as many as the rule does, but no more than can be.
    fn pass_on(&self, mut state: MutexGuard<'_, State>, most: u64) {
        if state.waiting.is_empty() || most == 0 {
            return;
        }
        let now = match R::TIMED || state.waiting.ages() {
            true => Moment::now(),
            // Nobody looks at it.
            false => Moment::from_nanos(0),
        };
        let first = self.grant(&mut state, now);
        let others: Vec<Waker> = match first {
            Some(_) if most > 1 => (1..most)
                .map_while(|_| self.grant(&mut state, now))
                .collect(),
            _ => Vec::new(),
        };
        let drivers = self.hurry(&state, now);
        drop(state);
        let woken = first.into_iter().chain(others).chain(drivers);
        woken.for_each(Waker::wake);
    }

    /// The drivers that would come too late for whoever is first by now.
    pub(super) fn hurry(&self, state: &State, now: Moment) -> Vec<Waker> {
        match R::TIMED {
            true => state.drivers.wakers(self.next_due(state, now)),
            false => Vec::new(),
        }
    }

    /// When somebody is to be admitted, where the clock says so.
    pub(super) fn next_due(&self, state: &State, now: Moment) -> Option<Moment> {
        let (_, cost) = state.waiting.first(now)?;
        let due = self.rule.due(0, cost, now)?;
        let turns = state.waiting.turns_at().filter(|turns| *turns > now);
        Some(turns.map_or(due, |turns| turns.min(due)))
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
    /// Has the holder of a ticket that waits woken by this waker from now on; gives back the one before.
    pub(super) fn renew(&mut self, ticket: Ticket, waker: &Waker) -> Option<Waker> {
        let before = self.waiting.told_by(ticket)?;
        let stale = !before.will_wake(waker);
        stale.then(|| std::mem::replace(before, waker.clone()))
    }

    /// Gives back the settings before, whose closures are the user's to drop.
    fn set(&mut self, mut settings: Settings) -> Settings {
        settings.capacity = settings.capacity.min(MOST);
        let order = settings.order.as_deref();
        self.uncertain |= order.is_some();
        self.waiting
            .reorder(order.and_then(Order::classes), order.and_then(Order::aging));
        std::mem::replace(&mut self.settings, settings)
    }
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self {
            capacity: DEFAULT_QUEUE_CAPACITY,
            max_wait: None,
            order: None,
            service_time: None,
        }
    }
}
