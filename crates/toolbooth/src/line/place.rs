use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;
use toolbooth_core::{Bound, CallContext, Moment};

use super::state::{State, Ticket};
use super::{Line, Rule, driver};

/// A call's place in a line: taken at the first poll, given up when dropped.
#[derive(Debug)]
pub(crate) struct Place<R: Rule> {
    line: Arc<Line<R>>,
    ticket: Option<Ticket>,
    since: Moment,
    /// Only where the wait has an end of its own that neither the line nor a layer around knows.
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
}

// === impl Place ===

impl<R: Rule> Place<R> {
    /// A place that is not taken yet, for a call that came at `since`.
    pub(crate) const fn new(line: Arc<Line<R>>, since: Moment) -> Self {
        Self {
            line,
            ticket: None,
            since,
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
        let mut state = line.lock();
        let drive = match self.ticket {
            None => match self.enter(&mut state, context, cx) {
                Ok(admitted) if admitted => return Poll::Ready(Ok(())),
                Ok(_) => line.claim_driver(&mut state),
                Err(refusal) => return Poll::Ready(Err(refusal)),
            },
            Some(ticket) if state.take(ticket) => {
                drop(state);
                self.ticket = None;
                return Poll::Ready(self.admitted(context));
            }
            Some(ticket) => {
                if let Some(waker) = state.waiting.get_mut(&ticket) {
                    waker.clone_from(cx.waker());
                }
                line.claim_driver(&mut state)
            }
        };
        drop(state);
        if let Some(generation) = drive {
            driver::start(&line, generation);
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

    /// Whether there is no use in lining up; if there is, a timer for a wait that has an end of its own.
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
            let end = until.into_iter().chain(deadline).min();
            self.timer = end.map(|end| Box::pin(tokio::time::sleep_until(end.instant())));
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
        let Some(timer) = &mut self.timer else {
            return Poll::Pending;
        };
        std::task::ready!(timer.as_mut().poll(cx));
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
    /// A line that waits for a point in time is driven while anybody waits.
    fn claim_driver(&self, state: &mut State) -> Option<u64> {
        if state.waiting.is_empty() || self.rule().due(0).is_none() {
            return None;
        }
        state.driver.claim()
    }
}
