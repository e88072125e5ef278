use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Sleep;
use toolbooth_core::{Bound, Moment, Part};

use super::limit_queue::State;
use super::timer::{self, ShuttingDown};
use super::waiters::{Claim, Expulsion, Ticket, TicketState};
use super::{Grant, LimitQueue, Limiter, Rejection};
use crate::middleware::sync::Arc;
use crate::shared::StoreRejection;

/// A call that waits for a limit. The first poll enqueues it; dropping it leaves the queue.
#[derive(Debug)]
pub(crate) struct Waiter<L: Limiter> {
    queue: Arc<LimitQueue<L>>,
    cost: u64,
    since: Moment,
    ticket: Option<Ticket>,
    /// The version of the queue's settings that the timer was set by.
    version: u64,
    /// The end of the wait, if neither the queue nor an outer layer enforces it.
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether the call starts without a wait or not at all, which only the store of the limit
    /// knows.
    at_once: bool,
}

/// The state of a waiter after a look at its queue.
enum Progress {
    Granted(Grant),
    Waiting,
    /// It waits, and its own timer is to be set to this end, or removed.
    WaitingUntil(Option<Moment>),
}

// === impl Waiter ===

impl<L: Limiter> Waiter<L> {
    /// Creates a waiter that is not enqueued yet, for a call that arrived at `since`.
    pub(crate) const fn new(queue: Arc<LimitQueue<L>>, cost: u64, since: Moment) -> Self {
        Self {
            queue,
            cost,
            since,
            ticket: None,
            version: 0,
            timer: None,
            at_once: false,
        }
    }

    /// Makes the call wait only for a reply of the store of the limit.
    #[cfg(feature = "rate")]
    pub(crate) const fn at_once(mut self) -> Self {
        self.at_once = true;
        self
    }

    pub(crate) const fn queue(&self) -> &Arc<LimitQueue<L>> {
        &self.queue
    }

    /// Returns when the call arrived.
    #[cfg(feature = "rate")]
    pub(crate) const fn since(&self) -> Moment {
        self.since
    }

    /// Returns how many permits or tokens the call needs.
    pub(crate) const fn cost(&self) -> u64 {
        self.cost
    }

    /// Returns how long the call has waited.
    pub(crate) fn waited(&self) -> Duration {
        Moment::now().since(self.since)
    }

    /// Waits for the cost, which on `Ok` belongs to the caller.
    pub(crate) fn poll(
        &mut self,
        part: &Part,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Grant, Rejection>> {
        let progress = match self.ticket {
            None => self.poll_first(part, cx),
            Some(ticket) => self.poll_queued(ticket, part, cx),
        };
        match progress {
            Ok(Progress::Granted(grant)) => return Poll::Ready(Ok(grant)),
            Ok(Progress::Waiting) => {}
            Ok(Progress::WaitingUntil(until)) => {
                let sleep = |until: Moment| Box::pin(tokio::time::sleep_until(until.instant()));
                self.timer = until.map(sleep);
            }
            Err(rejection) => return Poll::Ready(Err(rejection)),
        }
        self.poll_timer(part, cx)
    }

    fn poll_first(&mut self, part: &Part, cx: &Context<'_>) -> Result<Progress, Rejection> {
        let now = Moment::now();
        let bound = part.bound();
        if let Some(bound) = bound.filter(|bound| bound.at() <= now) {
            return Err(Rejection::Expired(bound));
        }
        let mut woken = Vec::new();
        let progress = self.enqueue(now, bound, part, cx, &mut woken);
        woken.into_iter().for_each(Waker::wake);
        progress
    }

    /// Acquires if the cost is free by now. Otherwise enqueues the call or rejects it.
    fn enqueue(
        &mut self,
        now: Moment,
        bound: Option<Bound>,
        part: &Part,
        cx: &Context<'_>,
        woken: &mut Vec<Waker>,
    ) -> Result<Progress, Rejection> {
        let queue = &self.queue;
        let mut state = queue.lock();
        queue.grant_due(&mut state, now, woken);
        if queue.try_before_enqueue(&state, self.cost, now) {
            return Ok(Progress::Granted(Grant::at(now)));
        }
        let mut claim = match &state.settings.order {
            None => Claim::new(now, self.cost),
            // Calls no callback.
            Some(order) if !order.is_fair() => order.claim(part.context(), self.cost, now)?,
            Some(order) => {
                let order = Arc::clone(order);
                queue.publish(&state);
                drop(state);
                // Before the callbacks: if one panics, these tasks are woken all the same.
                std::mem::take(woken).into_iter().for_each(Waker::wake);
                let claim = order.claim(part.context(), self.cost, now)?;
                drop(order);
                state = queue.lock();
                if queue.try_before_enqueue(&state, self.cost, now) {
                    return Ok(Progress::Granted(Grant::at(now)));
                }
                claim
            }
        };
        let until = match self.check_wait(&state, &claim, bound, part) {
            Ok(until) => until,
            Err(rejection) => {
                queue.publish(&state);
                return Err(rejection);
            }
        };
        claim.until = self.last_start(&state, bound);
        let enqueued = queue.enqueue(&mut state, claim, cx.waker().clone());
        woken.extend(queue.late_timers(&state, now));
        self.version = state.version;
        drop(state);
        Ok(match enqueued {
            Ok(ticket) => {
                self.ticket = Some(ticket);
                Progress::WaitingUntil(until)
            }
            // Its waker is dropped here, without the lock.
            Err((_, grant)) => Progress::Granted(grant),
        })
    }

    fn poll_queued(
        &mut self,
        ticket: Ticket,
        part: &Part,
        cx: &Context<'_>,
    ) -> Result<Progress, Rejection> {
        let mut state = self.queue.lock();
        let ticket_state = state.waiters.state(ticket);
        if ticket_state == TicketState::Waiting {
            let stale = state.replace_waker(ticket, cx.waker());
            let progress = match state.version == self.version {
                true => Progress::Waiting,
                false => Progress::WaitingUntil(self.own_end(&state, part.bound(), part)),
            };
            self.version = state.version;
            drop(state);
            // Dropping a waker may run any code, also code that uses this queue.
            drop(stale);
            return Ok(progress);
        }
        let grant = state.remove_granted(ticket);
        drop(state);
        self.ticket = None;
        match ticket_state {
            TicketState::Expelled(why) => Err(self.expelled(why)),
            _ => self
                .check_granted(grant.at, part)
                .map(|()| Progress::Granted(grant)),
        }
    }

    #[cold]
    fn expelled(&self, why: Expulsion) -> Rejection {
        match why {
            Expulsion::TooHeavy => Rejection::TooHeavy(self.cost, self.queue.limiter().capacity()),
            Expulsion::ByStore(StoreRejection::Until(until)) => {
                Rejection::TooLate(until.since(Moment::now()))
            }
            Expulsion::ByStore(StoreRejection::Away(retry_after)) => Rejection::Away(retry_after),
        }
    }

    /// Rejects a call that cannot be enqueued or cannot start in time.
    ///
    /// Returns the end of its wait if it needs a timer of its own.
    fn check_wait(
        &self,
        state: &State,
        claim: &Claim,
        bound: Option<Bound>,
        part: &Part,
    ) -> Result<Option<Moment>, Rejection> {
        let limiter = self.queue.limiter();
        let limit = limiter.capacity();
        if self.cost > limit {
            return Err(Rejection::TooHeavy(self.cost, limit));
        }
        if let Some(StoreRejection::Away(retry_after)) = limiter.rejection() {
            return Err(Rejection::Away(retry_after));
        }
        let capacity = state.settings.capacity;
        if state.waiters.len() >= capacity {
            return Err(Rejection::Full(capacity));
        }
        let until = match self.at_once {
            true => Some(self.since),
            false => self.max_wait_end(state),
        };
        if bound.is_none() && until.is_none() {
            return Ok(None);
        }
        let now = claim.since;
        let ahead = state.waiters.ahead(claim);
        let due = limiter.due(ahead, self.cost, now);
        let too_late = |due: &Moment| {
            bound.is_some_and(|bound| *due >= bound.at()) || until.is_some_and(|until| *due > until)
        };
        if let Some(due) = due.filter(too_late) {
            return Err(Rejection::TooLate(due.since(now)));
        }
        Ok(match state.uncertain || !limiter.is_exact() {
            true => self.own_end(state, bound, part),
            false => None,
        })
    }

    /// Returns the end of the wait, unless an outer timeout layer enforces it.
    fn own_end(&self, state: &State, bound: Option<Bound>, part: &Part) -> Option<Moment> {
        let bound = bound.filter(|_| !part.is_timed());
        let deadline = bound.map(|bound| bound.at());
        self.max_wait_end(state).into_iter().chain(deadline).min()
    }

    /// Returns the last moment at which the call can start.
    fn last_start(&self, state: &State, bound: Option<Bound>) -> Option<Moment> {
        if self.at_once {
            return Some(self.since);
        }
        // A call does not start at its deadline.
        let before = |bound: Bound| Moment::from_nanos(bound.at().as_nanos().saturating_sub(1));
        let ends = [self.max_wait_end(state), bound.map(before)];
        ends.into_iter().flatten().min()
    }

    fn max_wait_end(&self, state: &State) -> Option<Moment> {
        self.since.after(state.settings.max_wait?)
    }

    /// Rejects a call that is granted at or after its deadline.
    fn check_granted(&self, charged: Moment, part: &Part) -> Result<(), Rejection> {
        match part.bound().filter(|bound| bound.at() <= Moment::now()) {
            Some(bound) => {
                self.queue.refund(self.cost, charged);
                Err(Rejection::Expired(bound))
            }
            None => Ok(()),
        }
    }

    fn poll_timer(&mut self, part: &Part, cx: &mut Context<'_>) -> Poll<Result<Grant, Rejection>> {
        if self.queue.ensure_tasks().is_err() {
            self.leave();
            return Poll::Ready(Err(Rejection::ShuttingDown));
        }
        let Some(timer) = &mut self.timer else {
            return Poll::Pending;
        };
        ready!(timer.as_mut().poll(cx));
        self.leave();
        let now = Moment::now();
        Poll::Ready(Err(match part.bound().filter(|bound| bound.at() <= now) {
            Some(bound) => Rejection::Expired(bound),
            None => {
                let max_wait = self.queue.lock().settings.max_wait;
                Rejection::WaitedTooLong(max_wait.unwrap_or_else(|| self.waited()))
            }
        }))
    }

    fn leave(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.queue.leave(ticket, self.cost);
        }
    }
}

impl<L: Limiter> Drop for Waiter<L> {
    fn drop(&mut self) {
        self.leave();
    }
}

// === impl LimitQueue ===

impl<L: Limiter> LimitQueue<L> {
    /// Starts the tasks that the limiter needs: one that sends commands to its store, and one for
    /// the timer on the waiter's runtime if it is timed.
    fn ensure_tasks(self: &Arc<Self>) -> Result<(), ShuttingDown> {
        self.attach();
        if !L::TIMED {
            return Ok(());
        }
        let runtime = Handle::current();
        let mut state = self.lock();
        let claimed = match state.waiters.is_empty() {
            true => None,
            false => state.timers.claim(runtime.id()),
        };
        drop(state);
        claimed.map_or(Ok(()), |id| timer::start(self, &runtime, id))
    }
}
