use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Sleep;
use toolbooth_core::{Bound, Moment, Part};

use super::driver::{self, ShuttingDown};
use super::order::{Standing, Ticket, Who};
use super::state::State;
use super::{Line, Rejection, Rule};

/// A call's place in a line: taken at the first poll, given up when dropped.
#[derive(Debug)]
pub(crate) struct Place<R: Rule> {
    line: Arc<Line<R>>,
    cost: u64,
    since: Moment,
    ticket: Option<Ticket>,
    /// Where the wait has an end of its own that neither the line nor a layer around knows.
    timer: Option<Pin<Box<Sleep>>>,
}

/// What comes of a look at the line.
enum Look {
    Admitted,
    /// It waits; until then, where its wait has an end of its own that was not known before.
    Waits(Option<Moment>),
}

// === impl Place ===

impl<R: Rule> Place<R> {
    /// A place that is not taken yet, for a call that came at `since` and takes so much.
    pub(crate) const fn new(line: Arc<Line<R>>, cost: u64, since: Moment) -> Self {
        Self {
            line,
            cost,
            since,
            ticket: None,
            timer: None,
        }
    }

    /// The line it is in.
    pub(crate) const fn line(&self) -> &Arc<Line<R>> {
        &self.line
    }

    /// What it takes of the limit.
    pub(crate) const fn cost(&self) -> u64 {
        self.cost
    }

    /// How long the call has waited.
    pub(crate) fn waited(&self) -> Duration {
        Moment::now().since(self.since)
    }

    /// Waits in line. `Ok`: its cost was taken, which the caller now has.
    pub(crate) fn poll(
        &mut self,
        part: &Part,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Rejection>> {
        let look = match self.ticket {
            None => self.enter(part, cx),
            Some(ticket) => self.look(ticket, part, cx),
        };
        match look {
            Ok(Look::Admitted) => Poll::Ready(Ok(())),
            Ok(Look::Waits(until)) => self.keep_waiting(until, part, cx),
            Err(refusal) => Poll::Ready(Err(refusal)),
        }
    }

    /// The first poll.
    fn enter(&mut self, part: &Part, cx: &Context<'_>) -> Result<Look, Rejection> {
        let now = Moment::now();
        let bound = part.bound();
        if let Some(bound) = bound.filter(|bound| bound.at() <= now) {
            return Err(Rejection::Cut(bound));
        }
        let mut woken = Vec::new();
        let look = self.line_up(now, bound, part, cx, &mut woken);
        woken.into_iter().for_each(Waker::wake);
        look
    }

    /// It is free by now, or the line has a place, or there is no use in waiting.
    fn line_up(
        &mut self,
        now: Moment,
        bound: Option<Bound>,
        part: &Part,
        cx: &Context<'_>,
        woken: &mut Vec<Waker>,
    ) -> Result<Look, Rejection> {
        let line = &self.line;
        let mut state = line.lock();
        line.grant_due(&mut state, now, woken);
        if line.last_look(&state, self.cost, now) {
            return Ok(Look::Admitted);
        }
        let who = match &state.settings.order {
            None => Who::first_come(now, self.cost),
            // Nothing of the user's is called.
            Some(order) if !order.is_fair() => order.who(part.context(), self.cost, now)?,
            Some(order) => {
                let order = Arc::clone(order);
                line.settle(&state);
                drop(state);
                // Before the user's code, which may panic: nobody else wakes them.
                std::mem::take(woken).into_iter().for_each(Waker::wake);
                let who = order.who(part.context(), self.cost, now)?;
                drop(order);
                state = line.lock();
                if line.last_look(&state, self.cost, now) {
                    return Ok(Look::Admitted);
                }
                who
            }
        };
        let until = match self.end_of_wait(&state, &who, bound, part) {
            Ok(until) => until,
            Err(refusal) => {
                line.settle(&state);
                return Err(refusal);
            }
        };
        let lined_up = line.enqueue(&mut state, who, cx.waker().clone());
        woken.extend(line.hurry(&state, now));
        drop(state);
        self.ticket = lined_up.ok();
        Ok(match self.ticket {
            Some(_) => Look::Waits(until),
            None => Look::Admitted,
        })
    }

    /// Every later poll.
    fn look(&mut self, ticket: Ticket, part: &Part, cx: &Context<'_>) -> Result<Look, Rejection> {
        let mut state = self.line.lock();
        let standing = state.waiting.standing(ticket);
        if standing == Standing::Waits {
            let stale = state.renew(ticket, cx.waker());
            let until = match state.uncertain && self.timer.is_none() {
                true => self.own_end(&state, part.bound(), part),
                false => None,
            };
            drop(state);
            // Dropping a waker may run anything, even what comes back to this line.
            drop(stale);
            return Ok(Look::Waits(until));
        }
        state.waiting.leave(ticket);
        drop(state);
        self.ticket = None;
        match standing {
            Standing::Served => self.admitted(part).map(|()| Look::Admitted),
            _ => Err(Rejection::TooHeavy(self.cost, self.line.rule().capacity())),
        }
    }

    /// When a wait that has an end of its own is over; or why there is no use in lining up.
    fn end_of_wait(
        &self,
        state: &State,
        who: &Who,
        bound: Option<Bound>,
        part: &Part,
    ) -> Result<Option<Moment>, Rejection> {
        let limit = self.line.rule().capacity();
        if self.cost > limit {
            return Err(Rejection::TooHeavy(self.cost, limit));
        }
        let capacity = state.settings.capacity;
        if state.waiting.len() >= capacity {
            return Err(Rejection::Full(capacity));
        }
        let until = self.longest(state);
        if bound.is_none() && until.is_none() {
            return Ok(None);
        }
        let now = who.since;
        let ahead = state.waiting.ahead(who);
        let due = self.line.rule().due(ahead, self.cost, now);
        let too_late = |due: &Moment| {
            bound.is_some_and(|bound| *due >= bound.at()) || until.is_some_and(|until| *due > until)
        };
        if let Some(due) = due.filter(too_late) {
            return Err(Rejection::TooLate(due.since(now)));
        }
        Ok(match state.uncertain || !R::TIMED {
            true => self.own_end(state, bound, part),
            false => None,
        })
    }

    /// When the wait is over in any case, where no layer around sees to that.
    fn own_end(&self, state: &State, bound: Option<Bound>, part: &Part) -> Option<Moment> {
        let bound = bound.filter(|_| !part.is_timed());
        let deadline = bound.map(|bound| bound.at());
        self.longest(state).into_iter().chain(deadline).min()
    }

    /// When it has waited as long as a call may.
    fn longest(&self, state: &State) -> Option<Moment> {
        self.since.after(state.settings.max_wait?)
    }

    /// An admission at or after the deadline does not start the tool.
    fn admitted(&self, part: &Part) -> Result<(), Rejection> {
        match part.bound().filter(|bound| bound.at() <= Moment::now()) {
            Some(bound) => {
                self.line.refund(self.cost);
                Err(Rejection::Cut(bound))
            }
            None => Ok(()),
        }
    }

    fn keep_waiting(
        &mut self,
        until: Option<Moment>,
        part: &Part,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Rejection>> {
        if self.line.drive().is_err() {
            self.leave();
            return Poll::Ready(Err(Rejection::ShuttingDown));
        }
        if let Some(until) = until {
            self.timer = Some(Box::pin(tokio::time::sleep_until(until.instant())));
        }
        let Some(timer) = &mut self.timer else {
            return Poll::Pending;
        };
        ready!(timer.as_mut().poll(cx));
        self.leave();
        let now = Moment::now();
        Poll::Ready(Err(match part.bound().filter(|bound| bound.at() <= now) {
            Some(bound) => Rejection::Cut(bound),
            None => {
                let max_wait = self.line.lock().settings.max_wait;
                Rejection::WaitedTooLong(max_wait.unwrap_or_else(|| self.waited()))
            }
        }))
    }

    fn leave(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.line.leave(ticket, self.cost);
        }
    }
}

impl<R: Rule> Drop for Place<R> {
    fn drop(&mut self) {
        self.leave();
    }
}

// === impl Line ===

impl<R: Rule> Line<R> {
    /// A line that waits for a point in time is driven, on the runtime of each who waits.
    fn drive(self: &Arc<Self>) -> Result<(), ShuttingDown> {
        if !R::TIMED {
            return Ok(());
        }
        let runtime = Handle::current();
        let mut state = self.lock();
        let claimed = match state.waiting.is_empty() {
            true => None,
            false => state.drivers.claim(runtime.id()),
        };
        drop(state);
        claimed.map_or(Ok(()), |generation| {
            driver::start(self, &runtime, generation)
        })
    }
}
