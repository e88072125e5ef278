use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Sleep;
use toolbooth_core::{CallContext, Moment};

use super::driver::{self, ShuttingDown};
use super::order::{Ticket, Who};
use super::state::State;
use super::{Line, Refusal, Rule};

/// A call's place in a line: taken at the first poll, given up when dropped.
#[derive(Debug)]
pub(crate) struct Place<R: Rule> {
    line: Arc<Line<R>>,
    cost: u64,
    ticket: Option<Ticket>,
    since: Moment,
    /// Where the wait has an end of its own that neither the line nor a layer around knows; and the timer for it.
    until: Option<Moment>,
    timer: Option<Pin<Box<Sleep>>>,
}

// === impl Place ===

impl<R: Rule> Place<R> {
    /// A place that is not taken yet, for a call that came at `since` and takes so much.
    pub(crate) const fn new(line: Arc<Line<R>>, cost: u64, since: Moment) -> Self {
        Self {
            line,
            cost,
            ticket: None,
            since,
            until: None,
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
        context: &CallContext,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Refusal>> {
        let Some(ticket) = self.ticket else {
            match self.enter(context, cx) {
                Ok(admitted) if admitted => return Poll::Ready(Ok(())),
                Ok(_) => return self.keep_waiting(context, cx),
                Err(refusal) => return Poll::Ready(Err(refusal)),
            }
        };
        let line = Arc::clone(&self.line);
        let mut state = line.lock();
        if state.take(ticket) {
            drop(state);
            self.ticket = None;
            return Poll::Ready(self.admitted(context));
        }
        // Dropping a waker may run anything, even what comes back to this line.
        let Ok(stale) = state.renew(ticket, cx.waker()) else {
            self.ticket = None;
            let limit = line.rule().capacity();
            return Poll::Ready(Err(Refusal::TooHeavy(self.cost, limit)));
        };
        if state.uncertain && self.until.is_none() {
            self.until = self.end_of_wait(&state, context);
        }
        drop(state);
        drop(stale);
        self.keep_waiting(context, cx)
    }

    /// The first poll: it is free by now, or the line has a place, or there is no use in waiting.
    fn enter(&mut self, context: &CallContext, cx: &Context<'_>) -> Result<bool, Refusal> {
        let now = Moment::now();
        if let Some(bound) = context.bound().filter(|bound| bound.at <= now) {
            return Err(Refusal::Cut(bound));
        }
        let line = Arc::clone(&self.line);
        let mut state = line.lock();
        if line.last_look(&state, self.cost, now) {
            return Ok(true);
        }
        let who = match state.settings.order.clone() {
            None => Who::first_come(now, self.cost),
            // Nothing of the user's is called.
            Some(order) if !order.is_fair() => order.who(context, self.cost, now)?,
            Some(order) => {
                line.settle(&state);
                drop(state);
                let who = order.who(context, self.cost, now)?;
                drop(order);
                state = line.lock();
                if line.last_look(&state, self.cost, now) {
                    return Ok(true);
                }
                who
            }
        };
        if let Some(refusal) = self.refused(&state, &who, context) {
            line.settle(&state);
            return Err(refusal);
        }
        let lined_up = line.enqueue(&mut state, who, cx.waker().clone());
        let drivers = line.hurry(&state, now);
        drop(state);
        self.ticket = lined_up.ok();
        drivers.into_iter().for_each(std::task::Waker::wake);
        Ok(self.ticket.is_none())
    }

    /// Whether there is no use in lining up; if there is, the end of a wait that has one of its own.
    fn refused(&mut self, state: &State, who: &Who, context: &CallContext) -> Option<Refusal> {
        let limit = self.line.rule().capacity();
        if self.cost > limit {
            return Some(Refusal::TooHeavy(self.cost, limit));
        }
        let capacity = state.settings.capacity;
        if state.waiting.len() >= capacity {
            return Some(Refusal::Full(capacity));
        }
        let (now, bound) = (who.since, context.bound());
        let max_wait = state.settings.max_wait;
        let until = max_wait.and_then(|max_wait| self.since.after(max_wait));
        if bound.is_some() || until.is_some() {
            let due = self
                .line
                .rule()
                .due(state.waiting.ahead(who), self.cost, now);
            let too_late = |due: &Moment| {
                bound.is_some_and(|bound| *due >= bound.at)
                    || until.is_some_and(|until| *due > until)
            };
            if let Some(due) = due.filter(too_late) {
                return Some(Refusal::TooLate(due.since(now)));
            }
            if state.uncertain || !R::TIMED {
                self.until = self.end_of_wait(state, context);
            }
        }
        None
    }

    /// When the wait is over in any case, where no layer around sees to that.
    fn end_of_wait(&self, state: &State, context: &CallContext) -> Option<Moment> {
        let max_wait = state.settings.max_wait;
        let until = max_wait.and_then(|max_wait| self.since.after(max_wait));
        let bound = context.bound().filter(|_| !context.is_timed());
        let deadline = bound.map(|bound| bound.at);
        until.into_iter().chain(deadline).min()
    }

    /// An admission at or after the deadline does not start the tool.
    fn admitted(&self, context: &CallContext) -> Result<(), Refusal> {
        match context.bound().filter(|bound| bound.at <= Moment::now()) {
            Some(bound) => {
                self.line.refund(self.cost);
                Err(Refusal::Cut(bound))
            }
            None => Ok(()),
        }
    }

    fn keep_waiting(
        &mut self,
        context: &CallContext,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Refusal>> {
        if self.line.drive().is_err() {
            self.leave();
            return Poll::Ready(Err(Refusal::ShuttingDown));
        }
        let Some(until) = self.until else {
            return Poll::Pending;
        };
        let timer = || Box::pin(tokio::time::sleep_until(until.instant()));
        std::task::ready!(self.timer.get_or_insert_with(timer).as_mut().poll(cx));
        self.leave();
        let now = Moment::now();
        Poll::Ready(Err(match context.bound().filter(|bound| bound.at <= now) {
            Some(bound) => Refusal::Cut(bound),
            None => {
                let max_wait = self.line.lock().settings.max_wait;
                Refusal::WaitedTooLong(max_wait.unwrap_or_else(|| self.waited()))
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
