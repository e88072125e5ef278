use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Sleep;
use toolbooth_core::{Bound, CallContext, Moment};

use super::driver::{self, ShuttingDown};
use super::state::{State, Ticket};
use super::{Line, Rule};

/// A call's place in a line: taken at the first poll, given up when dropped.
#[derive(Debug)]
pub(crate) struct Place<R: Rule> {
    line: Arc<Line<R>>,
    ticket: Option<Ticket>,
    since: Moment,
    /// Where the wait has an end of its own that neither the line nor a layer around knows; and the timer for it.
    until: Option<Moment>,
    timer: Option<Pin<Box<Sleep>>>,
}

/// Why a call does not get, or does not keep, its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// As many wait as may.
    Full(usize),
    /// Its turn would come after this long: too late for it.
    TooLate(Duration),
    /// It waited as long as a call may.
    WaitedTooLong(Duration),
    /// A limit around it struck.
    Cut(Bound),
    /// Its runtime is shutting down, so that nobody would wake it.
    ShuttingDown,
}

// === impl Place ===

impl<R: Rule> Place<R> {
    /// A place that is not taken yet, for a call that came at `since`.
    pub(crate) const fn new(line: Arc<Line<R>>, since: Moment) -> Self {
        Self {
            line,
            ticket: None,
            since,
            until: None,
            timer: None,
        }
    }

    /// The line it is in.
    #[cfg_attr(
        not(feature = "concurrency"),
        expect(dead_code, reason = "only a permit goes back to its line")
    )]
    pub(crate) const fn line(&self) -> &Arc<Line<R>> {
        &self.line
    }

    /// How long the call has waited.
    pub(crate) fn waited(&self) -> Duration {
        Moment::now().since(self.since)
    }

    /// Waits in line. `Ok`: one was taken, which the caller now has.
    pub(crate) fn poll(
        &mut self,
        context: &CallContext,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Refusal>> {
        let line = Arc::clone(&self.line);
        let mut stale = None;
        let mut state = line.lock();
        match self.ticket {
            None => match self.enter(&mut state, context, cx) {
                Ok(admitted) if admitted => return Poll::Ready(Ok(())),
                Ok(_) => {}
                Err(refusal) => return Poll::Ready(Err(refusal)),
            },
            Some(ticket) if state.take(ticket) => {
                drop(state);
                self.ticket = None;
                return Poll::Ready(self.admitted(context));
            }
            Some(ticket) => {
                // Dropping a waker may run anything, even what comes back to this line.
                stale = state.renew(ticket, cx.waker());
            }
        }
        drop(state);
        drop(stale);
        if line.drive().is_err() {
            self.leave();
            return Poll::Ready(Err(Refusal::ShuttingDown));
        }
        self.poll_timer(context, cx)
    }

    /// The first poll: one is free by now, or the line has a place, or there is no use in waiting.
    fn enter(
        &mut self,
        state: &mut State,
        context: &CallContext,
        cx: &Context<'_>,
    ) -> Result<bool, Refusal> {
        let now = Moment::now();
        let bound = context.bound();
        if let Some(bound) = bound.filter(|bound| bound.at <= now) {
            return Err(Refusal::Cut(bound));
        }
        if self.line.last_look(state, now) {
            return Ok(true);
        }
        match self.refused(state, context, now) {
            Some(refusal) => {
                self.line.settle(state);
                Err(refusal)
            }
            None => {
                self.ticket = Some(self.line.enqueue(state, cx.waker().clone()));
                Ok(false)
            }
        }
    }

    /// Whether there is no use in lining up; if there is, the end of a wait that has one of its own.
    fn refused(&mut self, state: &State, context: &CallContext, now: Moment) -> Option<Refusal> {
        let bound = context.bound();
        let ahead = state.waiting.len();
        if ahead >= state.capacity {
            return Some(Refusal::Full(state.capacity));
        }
        let until = state
            .max_wait
            .and_then(|max_wait| self.since.after(max_wait));
        if let Some(due) = self.line.rule().due(ahead) {
            if bound.is_some_and(|bound| due >= bound.at) || until.is_some_and(|until| due > until)
            {
                return Some(Refusal::TooLate(due.since(now)));
            }
        } else {
            let deadline = bound.filter(|_| !context.is_timed()).map(|bound| bound.at);
            self.until = until.into_iter().chain(deadline).min();
        }
        None
    }

    /// An admission at or after the deadline does not start the tool.
    fn admitted(&self, context: &CallContext) -> Result<(), Refusal> {
        match context.bound().filter(|bound| bound.at <= Moment::now()) {
            Some(bound) => {
                self.line.refund();
                Err(Refusal::Cut(bound))
            }
            None => Ok(()),
        }
    }

    fn poll_timer(
        &mut self,
        context: &CallContext,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Refusal>> {
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
                Refusal::WaitedTooLong(self.line.lock().max_wait.unwrap_or_else(|| self.waited()))
            }
        }))
    }

    fn leave(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.line.leave(ticket);
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
        if self.rule().due(0).is_none() {
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
