//! Invariants:
//! 1. No lost wakeup: a waiter sets `has_waiters` before its last try to acquire, and a release
//!    returns its cost before it reads `has_waiters`, both `SeqCst`. So either the waiter acquires
//!    what was released, or the release sees the waiter and grants it under the lock.
//! 2. No overtaking: a call that arrives while `has_waiters` is set acquires nothing on the fast
//!    path. It is enqueued, and granted there if it is next by the order.
//! 3. A ticket waits until it is granted or expelled. That happens once, and wakes its holder once.
//!    Only its holder removes it.
//! 4. Wakers are called and dropped without the lock, and so are callbacks of the user.
//! 5. No waiter waits for what is free: each event that makes another waiter the first, or frees
//!    more of the limit, grants while the first waiter can be granted. For a timed limiter the
//!    clock is such an event: timer tasks wait for it, and a new waiter looks as well. For other
//!    limiters, a waiter that is first by its age alone is granted at the next event.
//! 6. No waiter waits for more than the limit can ever give: such a call is rejected when it
//!    arrives. When the limit is lowered its ticket is expelled and its task is woken.

use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Duration;

use toolbooth_core::{LimitId, Moment};

use super::order::Order;
use super::timer::Timers;
use super::waiters::{Claim, Ticket, TicketState, Waiters};
use super::{DEFAULT_CAPACITY, Grant, Limiter};
use crate::middleware::sync::atomic::{AtomicBool, Ordering};
use crate::middleware::sync::{Arc, Mutex, MutexGuard, Weak, lock};
use crate::shared::SharedQueue;

/// One limit and the calls that wait for it. All clones of a layer share it.
#[derive(Debug)]
pub(crate) struct LimitQueue<L> {
    id: LimitId,
    limiter: L,
    /// Whether a call waits, or is about to. Written under the lock only.
    has_waiters: AtomicBool,
    state: Mutex<State>,
}

/// The settings of a queue.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) capacity: usize,
    pub(crate) max_wait: Option<Duration>,
    /// `None`: first in, first out.
    pub(crate) order: Option<Arc<Order>>,
    pub(crate) service_time: Option<Duration>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) settings: Settings,
    pub(super) waiters: Waiters<Waker>,
    /// What waiters were granted that were not polled since, if the limiter needs to know it.
    granted: BTreeMap<Ticket, Grant>,
    pub(super) timers: Timers,
    /// Whether a waiter may start later than [`Limiter::due`] returned when it was enqueued: others
    /// may overtake it, or the limit was changed.
    pub(super) uncertain: bool,
    /// Counts the changes of the settings and the limit. A waiter sets its timer again after one.
    pub(super) version: u64,
}

// === impl LimitQueue ===

impl<L: Limiter> LimitQueue<L> {
    pub(crate) fn new(limiter: L, settings: Settings) -> Self {
        let mut state = State {
            settings: Settings::default(),
            waiters: Waiters::new(),
            granted: BTreeMap::new(),
            timers: Timers::new(),
            uncertain: false,
            version: 0,
        };
        limiter.set_service_time(settings.service_time);
        state.apply(settings);
        Self {
            id: LimitId::unique(),
            limiter,
            has_waiters: AtomicBool::new(false),
            state: Mutex::new(state),
        }
    }

    pub(crate) const fn id(&self) -> LimitId {
        self.id
    }

    pub(crate) const fn limiter(&self) -> &L {
        &self.limiter
    }

    pub(crate) fn settings(&self) -> Settings {
        self.lock().settings.clone()
    }

    /// Changes the settings. Calls that wait stay in the queue.
    pub(crate) fn configure(&self, change: impl FnOnce(&mut Settings)) {
        let mut state = self.lock();
        let mut settings = state.settings.clone();
        change(&mut settings);
        self.limiter.set_service_time(settings.service_time);
        let previous = state.apply(settings);
        state.uncertain = true;
        // In another order another waiter may be first, and need less. All are woken, since the
        // longest wait may have changed.
        let woken = state.waiters.wakers().cloned().collect();
        self.grant_after_change(state, woken);
        drop(previous);
    }

    /// Changes the limit. Calls that wait stay in the queue unless they need more than the new
    /// limit can ever give.
    pub(crate) fn set_limit(self: &Arc<Self>, change: impl FnOnce(&L)) {
        let mut state = self.lock();
        change(&self.limiter);
        state.uncertain = true;
        state.version += 1;
        let mut woken = state.waiters.expel(self.limiter.capacity());
        self.after_removal(&mut state);
        if L::TIMED {
            // Their estimates have changed.
            woken.extend(state.waiters.wakers().cloned());
        }
        self.grant_after_change(state, woken);
        // A store learns of the change also if no call has used it yet.
        self.attach();
    }

    /// Starts the task that sends the commands of the limiter to its store, if it has one.
    pub(super) fn attach(self: &Arc<Self>) {
        self.limiter.attach(|| {
            let queue: Weak<Self> = Arc::downgrade(self);
            queue as Weak<dyn SharedQueue>
        });
    }

    /// Changes the limiter so that waiters start later than they would. They stay in the queue.
    #[cfg(feature = "rate")]
    pub(crate) fn delay(&self, change: impl FnOnce(&L)) {
        let mut state = self.lock();
        change(&self.limiter);
        let were_exact = self.limiter.is_exact() && !state.uncertain;
        state.uncertain = true;
        if were_exact {
            // They set timers of their own: they may not start when it was predicted.
            state.version += 1;
            let woken = state.waiters.wakers().cloned().collect();
            self.grant_after_change(state, woken);
        }
    }

    /// Grants as long as the first waiter can be granted. Then wakes these and the given tasks.
    fn grant_after_change(&self, mut state: MutexGuard<'_, State>, mut woken: Vec<Waker>) {
        let now = Moment::now();
        woken.extend(std::iter::from_fn(|| self.grant_first(&mut state, now)));
        woken.extend(state.timers.wakers(None));
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Wakes all waiters, so that they look again whether they need what they wait for.
    pub(crate) fn wake_all(&self) {
        let state = self.lock();
        let woken: Vec<Waker> = state.waiters.wakers().cloned().collect();
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Returns how many calls wait.
    pub(crate) fn queued(&self) -> usize {
        self.lock().waiters.len()
    }

    /// Returns the earliest moment at which a call behind all waiters starts.
    #[cfg_attr(
        not(feature = "rate"),
        expect(dead_code, reason = "only a rate limit knows it")
    )]
    pub(crate) fn due(&self, cost: u64, now: Moment) -> Option<Moment> {
        let ahead = self.lock().waiters.cost();
        self.limiter.due(ahead, cost, now)
    }

    /// Acquires without waiting. Fails if another call waits.
    #[inline]
    pub(crate) fn try_acquire(&self, cost: u64, now: impl FnOnce() -> Moment) -> bool {
        !self.has_waiters.load(Ordering::SeqCst) && self.limiter.try_acquire(cost, now)
    }

    /// Releases permits, and grants the waiters that they suffice for.
    #[inline]
    pub(crate) fn release(&self, cost: u64) {
        self.refund(cost, Moment::from_nanos(0));
    }

    /// Returns what a call was charged for at `acquired`, and grants the waiters that it suffices
    /// for.
    #[inline]
    pub(crate) fn refund(&self, cost: u64, acquired: Moment) {
        self.limiter.release(cost, acquired, Moment::now);
        if self.has_waiters.load(Ordering::SeqCst) {
            self.grant_released(cost);
        }
    }

    #[cold]
    fn grant_released(&self, cost: u64) {
        let state = self.lock();
        let most = match state.waiters.is_uniform() {
            true => cost,
            false => u64::MAX,
        };
        self.grant_up_to(state, most);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Tries to acquire for the last time before the call is enqueued. If it returns false,
    /// [`enqueue`](Self::enqueue) or [`publish`](Self::publish) must follow.
    pub(super) fn try_before_enqueue(&self, state: &State, cost: u64, now: Moment) -> bool {
        if state.waiters.is_empty() {
            self.has_waiters.store(true, Ordering::SeqCst);
            if self.limiter.try_acquire(cost, || now) {
                self.publish(state);
                return true;
            }
        }
        false
    }

    /// Enqueues a waiter. If it was granted at once, returns as an error its waker and the grant.
    pub(super) fn enqueue(
        &self,
        state: &mut State,
        claim: Claim,
        waker: Waker,
    ) -> Result<Ticket, (Waker, Grant)> {
        let (now, first) = (claim.since, state.waiters.is_empty());
        let ticket = state.waiters.push(claim, waker);
        self.publish(state);
        // `try_before_enqueue` failed for the first waiter, and a cheaper one cannot follow.
        let cannot_grant = first || state.waiters.is_uniform();
        if cannot_grant || state.waiters.first(now).map(|(next, _)| next) != Some(ticket) {
            return Ok(ticket);
        }
        match self.grant_first(state, now) {
            // The waker of the running task: it need not be called.
            Some(waker) => Err((waker, state.remove_granted(ticket))),
            None => Ok(ticket),
        }
    }

    /// Writes whether calls wait to `has_waiters`.
    pub(super) fn publish(&self, state: &State) {
        let has_waiters = !state.waiters.is_empty();
        // Only the lock's holder writes, so `Relaxed` reads the last value. A `SeqCst` store that
        // changes nothing would drain the store buffer for nothing.
        if self.has_waiters.load(Ordering::Relaxed) != has_waiters {
            self.has_waiters.store(has_waiters, Ordering::SeqCst);
        }
        self.limiter
            .set_waiting(|| state.waiters.needs(Moment::now()));
    }

    /// Grants the first waiter if the limiter allows it. Returns its waker.
    fn grant_first(&self, state: &mut State, now: Moment) -> Option<Waker> {
        let (ticket, cost) = state.waiters.first(now)?;
        let grant = self.limiter.try_grant(cost, now)?;
        let waker = state.waiters.grant(ticket)?;
        if L::TIMED || grant.fence != 0 {
            state.granted.insert(ticket, grant);
        }
        self.after_removal(state);
        Some(waker)
    }

    /// Grants all waiters that are due by now, if the limiter is timed.
    pub(super) fn grant_due(&self, state: &mut State, now: Moment, woken: &mut Vec<Waker>) {
        if L::TIMED {
            woken.extend(std::iter::from_fn(|| self.grant_first(state, now)));
        }
    }

    /// Removes a ticket. What it was granted goes to the next waiter.
    pub(super) fn leave(&self, ticket: Ticket, cost: u64) {
        let mut state = self.lock();
        if state.waiters.state(ticket) == TicketState::Granted {
            let grant = state.remove_granted(ticket);
            drop(state);
            return self.refund(cost, grant.at);
        }
        // If all waiters cost 1, this one kept nothing free from the others.
        let most = match state.waiters.is_uniform() {
            true => 0,
            false => u64::MAX,
        };
        let waker = state.waiters.remove(ticket);
        self.after_removal(&mut state);
        self.grant_up_to(state, most);
        drop(waker);
    }

    /// Grants at most `most` waiters, as far as the limiter allows it, and wakes them.
    fn grant_up_to(&self, mut state: MutexGuard<'_, State>, most: u64) {
        if state.waiters.is_empty() || most == 0 {
            return;
        }
        let now = match L::TIMED || state.waiters.ages() {
            true => Moment::now(),
            // Nothing depends on the time.
            false => Moment::from_nanos(0),
        };
        // The usual single waker needs no allocation.
        let first = self.grant_first(&mut state, now);
        let others: Vec<Waker> = match first {
            Some(_) if most > 1 => (1..most)
                .map_while(|_| self.grant_first(&mut state, now))
                .collect(),
            _ => Vec::new(),
        };
        let late = self.late_timers(&state, now);
        drop(state);
        let woken = first.into_iter().chain(others).chain(late);
        woken.for_each(Waker::wake);
    }

    /// Returns the wakers of timer tasks that sleep past the time at which the first waiter is due.
    pub(super) fn late_timers(&self, state: &State, now: Moment) -> Vec<Waker> {
        match L::TIMED {
            true => state.timers.wakers(self.next_due(state, now)),
            false => Vec::new(),
        }
    }

    /// Returns the moment at which a timer task must look at the queue again.
    pub(super) fn next_due(&self, state: &State, now: Moment) -> Option<Moment> {
        let (_, cost) = state.waiters.first(now)?;
        let due = self.limiter.due(0, cost, now)?;
        let turns = state.waiters.turns_at().filter(|turns| *turns > now);
        Some(turns.map_or(due, |turns| turns.min(due)))
    }

    fn after_removal(&self, state: &mut State) {
        self.publish(state);
        if state.waiters.is_empty() {
            state.timers.stop();
        }
    }
}

impl<L: Limiter> SharedQueue for LimitQueue<L> {
    fn look(&self) {
        let mut state = self.lock();
        // First those that may start: what they need is there.
        let now = Moment::now();
        let mut woken: Vec<Waker> =
            std::iter::from_fn(|| self.grant_first(&mut state, now)).collect();
        woken.extend(state.waiters.expel(self.limiter.capacity()));
        if let Some(rejection) = self.limiter.rejection() {
            woken.extend(state.waiters.expel_rejected(rejection));
        }
        self.after_removal(&mut state);
        self.grant_after_change(state, woken);
    }
}

// === impl State ===

impl State {
    /// Stores the waker of a ticket that waits. Returns the previous one if it differs.
    pub(super) fn replace_waker(&mut self, ticket: Ticket, waker: &Waker) -> Option<Waker> {
        let current = self.waiters.waker_mut(ticket)?;
        let stale = !current.will_wake(waker);
        stale.then(|| std::mem::replace(current, waker.clone()))
    }

    /// Removes a ticket that was granted. Returns the grant, if the limiter needs to know it.
    pub(super) fn remove_granted(&mut self, ticket: Ticket) -> Grant {
        self.waiters.remove(ticket);
        let grant = self.granted.remove(&ticket);
        grant.unwrap_or(Grant::at(Moment::from_nanos(0)))
    }

    /// Returns the previous settings: their closures are the user's, and dropped without the lock.
    fn apply(&mut self, settings: Settings) -> Settings {
        let order = settings.order.as_deref();
        self.uncertain |= order.is_some();
        self.version += 1;
        self.waiters
            .reorder(order.and_then(Order::classes), order.and_then(Order::aging));
        std::mem::replace(&mut self.settings, settings)
    }
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self {
            capacity: DEFAULT_CAPACITY,
            max_wait: None,
            order: None,
            service_time: None,
        }
    }
}
