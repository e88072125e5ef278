//! What a process knows of a shared bucket, and which command comes next. Pure: the time is an
//! argument.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use toolbooth_core::Moment;

use super::command::{Command, LocalRules, Step, Take, Times};
use super::line::{Line, Segment, Surplus};
use crate::shared::{Attempts, RETRY_PAUSE, SetLimit, SharedQuota, TokensTaken, Waiting};

/// The tokens of a process, and its next command.
#[derive(Debug)]
pub(super) struct State {
    /// The quotas that hold for all processes: one or more.
    quotas: Arc<[SharedQuota]>,
    /// How the quotas are reported with the next command.
    set: SetLimit,
    /// Whether this process has no limit.
    is_lifted: bool,
    line: Line,
    /// Tokens of replies that came too late.
    late: VecDeque<Surplus>,
    /// Tokens that calls have returned.
    returned: VecDeque<Surplus>,
    /// Tokens that calls have used beyond those that they had taken.
    debt: u64,
    /// How many tokens are kept in advance.
    prefetch: u64,
    waiting: Option<Waiting>,
    /// A moment before which the store has no token for the first waiter. Calls that cannot wait
    /// until then are rejected.
    none_until: Option<Moment>,
    /// Not before this moment are more tokens taken than the first waiter needs.
    more_at: Option<Moment>,
    attempts: Attempts,
    /// For which waiters tokens were taken last, and when to try again for the same ones.
    asked_for: Option<Waiting>,
    ask_at: Option<Moment>,
    closed: bool,
}

/// How many returns of tokens wait for the store at most. Others are lost, and refill in time.
const MAX_RETURNED: usize = 64;

/// The longest wait for a reservation: a day.
const MAX_WAIT: Duration = Duration::from_secs(86_400);

// === impl State ===

impl State {
    pub(super) fn new(quotas: Arc<[SharedQuota]>, prefetch: u32, set: SetLimit) -> Self {
        Self {
            prefetch: u64::from(prefetch).min(burst(&quotas)),
            quotas,
            set,
            is_lifted: false,
            line: Line::new(),
            late: VecDeque::new(),
            returned: VecDeque::new(),
            debt: 0,
            waiting: None,
            none_until: None,
            more_at: None,
            attempts: Attempts::new(),
            asked_for: None,
            ask_at: None,
            closed: false,
        }
    }

    pub(super) const fn quotas(&self) -> &Arc<[SharedQuota]> {
        &self.quotas
    }

    /// Returns how many tokens can be taken together.
    pub(super) fn burst(&self) -> u64 {
        burst(&self.quotas)
    }

    /// Changes the quotas of all processes; `None` ends those of this one.
    pub(super) fn set_quotas(&mut self, quotas: Option<Arc<[SharedQuota]>>) {
        self.is_lifted = quotas.is_none();
        if let Some(quotas) = quotas {
            self.quotas = quotas;
            self.set = SetLimit::Always;
        }
        self.none_until = None;
        self.more_at = None;
        self.ask_at = None;
    }

    /// Returns whether the limit holds without the store, because its commands fail.
    pub(super) const fn is_failing(&self) -> bool {
        self.attempts.is_failing()
    }

    pub(super) const fn is_lifted(&self) -> bool {
        self.is_lifted
    }

    pub(super) fn available(&self, now: Moment) -> u64 {
        self.line.available(now)
    }

    pub(super) fn available_at(&self, tokens: u64) -> Option<Moment> {
        self.line.available_at(tokens)
    }

    pub(super) const fn none_until(&self) -> Option<Moment> {
        self.none_until
    }

    /// Takes tokens that are available, if `allows` does, too. Returns when they were, and whether
    /// there is something new to do: also for a call that finds that its tokens have expired.
    pub(super) fn take(
        &mut self,
        tokens: u64,
        now: Moment,
        times: Times,
        allows: impl FnOnce() -> bool,
    ) -> (Option<Moment>, bool) {
        let until = earlier(now, times.grace);
        let at = self.line.available_at(tokens);
        // The tokens of one call can be used as long as the last of them.
        let until = until.filter(|until| at.is_none_or(|at| at < *until));
        let expired = until.is_some_and(|until| self.line.expire(until, self.prefetch));
        let at = self.line.available_at(tokens).filter(|at| *at <= now);
        let taken = at.filter(|_| allows());
        if taken.is_some() {
            self.line.take(tokens, now);
        }
        let is_low = self.prefetch > 0 && self.missing(self.line.total()) > 0;
        (taken, expired || (taken.is_some() && is_low))
    }

    /// Returns tokens that a call took which were available at `at`.
    pub(super) fn refund(&mut self, tokens: u64, at: Moment) {
        if self.returned.len() < MAX_RETURNED {
            self.returned.push_back(Surplus {
                receipt: 0,
                tokens,
                at,
            });
        }
    }

    /// Returns tokens of a reply that came too late. Whole, if no other process has reserved any
    /// since: the reservations of this one are returned before, and made again.
    pub(super) fn return_late(&mut self, late: Surplus) {
        self.late.push_front(late);
        self.ask_at = None;
        self.more_at = None;
    }

    /// Uses tokens whether or not there are enough.
    pub(super) fn charge(&mut self, tokens: u64) {
        let debt = self.line.use_first(tokens);
        self.debt = self.debt.saturating_add(debt);
    }

    /// Returns whether there is something new to do.
    pub(super) fn set_waiting(&mut self, waiting: Option<Waiting>) -> bool {
        let before = std::mem::replace(&mut self.waiting, waiting);
        before != waiting
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
        self.waiting = None;
    }

    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) const fn waiting(&self) -> Option<Waiting> {
        self.waiting
    }

    /// Returns what to do while no command is in flight.
    pub(super) fn next(&mut self, now: Moment, times: Times, local: LocalRules) -> Step {
        // No token is taken for calls that do not start with it.
        let waiting = self.waiting.filter(|_| local.from <= now);
        let total = waiting.map_or(0, |first| first.total.min(local.room.max(first.least)));
        let kept = match self.closed {
            true => 0,
            false => self.prefetch,
        };
        let needed = match self.late.is_empty() {
            true => total.saturating_add(kept),
            false => self.line.available(now),
        };
        let surplus = self
            .line
            .take_surplus(needed)
            .or_else(|| self.late.pop_front());
        if let Some(surplus) = surplus.or_else(|| self.returned.pop_front()) {
            return Step::Send(Command::Return(surplus));
        }
        if self.closed {
            return match self.debt {
                0 => Step::End,
                _ => self.send_charge(),
            };
        }
        if let Some(retry_at) = self.attempts.retry_at(now) {
            return Step::Wait(Some(retry_at));
        }
        if self.debt > 0 {
            return self.send_charge();
        }
        let have = self.line.total();
        let wanted = total
            .saturating_add(self.missing(have))
            .saturating_sub(have);
        let Some(first) = waiting.filter(|first| first.least > have) else {
            return self.take_more(wanted, now, times);
        };
        if self.asked_for == Some(first) && self.ask_at.is_some_and(|at| now < at) {
            return Step::Wait(self.ask_at);
        }
        self.asked_for = Some(first);
        let left = first.until.map(|until| until.since(now));
        let horizon = match left {
            // It does not wait, and neither do those behind it.
            Some(Duration::ZERO) => Duration::ZERO,
            _ => times.horizon,
        };
        let least = first.least - have;
        let max_wait = left.unwrap_or(MAX_WAIT).min(MAX_WAIT);
        self.send(least, wanted.max(least), max_wait, horizon)
    }

    /// Returns how many tokens to take in advance: none until most of those before are used.
    const fn missing(&self, have: u64) -> u64 {
        match have <= self.prefetch / 4 {
            true => self.prefetch,
            false => 0,
        }
    }

    /// Takes tokens that the first waiter does not need, if they are available soon.
    fn take_more(&mut self, wanted: u64, now: Moment, times: Times) -> Step {
        // Or a probe.
        if self.set == SetLimit::Always || self.attempts.is_failing() {
            return self.send(0, 0, Duration::ZERO, Duration::ZERO);
        }
        if wanted == 0 {
            return Step::Wait(None);
        }
        // Not long before the tokens that there are have been used.
        let soon = self
            .line
            .last_at()
            .and_then(|last| earlier(last, times.horizon / 2));
        let at = soon.max(self.more_at);
        match at.filter(|at| *at > now) {
            Some(at) => Step::Wait(Some(at)),
            None => self.send(1, wanted, times.horizon, times.horizon),
        }
    }

    fn send(&mut self, least: u64, most: u64, max_wait: Duration, horizon: Duration) -> Step {
        Step::Send(Command::Take(Take {
            quotas: Arc::clone(&self.quotas),
            set: std::mem::replace(&mut self.set, SetLimit::IfUnknown),
            least,
            most,
            max_wait,
            horizon,
            charge: false,
        }))
    }

    /// Charges what was used. The store bounds the debt.
    fn send_charge(&mut self) -> Step {
        let tokens = std::mem::take(&mut self.debt);
        Step::Send(Command::Take(Take {
            quotas: Arc::clone(&self.quotas),
            set: std::mem::replace(&mut self.set, SetLimit::IfUnknown),
            least: tokens,
            most: tokens,
            max_wait: Duration::ZERO,
            horizon: Duration::ZERO,
            charge: true,
        }))
    }

    /// Records the reply to a command.
    pub(super) fn replied(&mut self, take: &Take, reply: &TokensTaken, now: Moment, times: Times) {
        let is_new = !reply.quotas.is_empty() && *self.quotas != *reply.quotas;
        if self.set != SetLimit::Always && is_new {
            self.quotas = reply.quotas.as_slice().into();
        }
        let Some(first) = reply.quotas.first() else {
            // Not a bucket.
            return self.attempts.failed(now);
        };
        self.attempts.succeeded();
        if take.least == 0 || take.charge {
            return;
        }
        let is_one = reply.quotas.len() == 1;
        let at = now.after(reply.wait);
        let taken = at.map_or(0, |_| reply.taken.min(take.most));
        self.ask_at = (taken == 0)
            .then(|| Self::ask_again(take, reply.wait, now))
            .flatten();
        let next = match taken {
            0 => at,
            // With several quotas, only the store knows when there is one more.
            _ => at
                .filter(|_| is_one)
                .and_then(|at| at.after(first.interval)),
        };
        if let Some(last_at) = at.filter(|_| taken > 0) {
            self.line.push(Segment {
                tokens: taken,
                since: now,
                last_at,
                spacing: if is_one {
                    first.interval
                } else {
                    Duration::ZERO
                },
                receipt: reply.receipt,
                interval: first.interval,
            });
        }
        let wants_more = taken < take.most;
        self.none_until = next.filter(|_| wants_more);
        self.more_at = next
            .filter(|_| wants_more)
            .and_then(|next| earlier(next, times.horizon))
            .max(self.ask_at);
    }

    /// Returns when the store will reserve the tokens that it has none of, unless the waiters
    /// change before.
    fn ask_again(take: &Take, wait: Duration, now: Moment) -> Option<Moment> {
        let pause = wait.saturating_sub(take.max_wait);
        now.after(pause.clamp(RETRY_PAUSE, MAX_WAIT))
    }

    /// Forgets what the last reply said, once the waiters know it.
    pub(super) const fn admit_again(&mut self) {
        self.none_until = None;
    }

    /// Records that a command failed, which may have been executed. What was used is charged again,
    /// and what was returned is not: so the quota is never exceeded.
    pub(super) fn failed(&mut self, command: &Command, now: Moment) {
        self.attempts.failed(now);
        match command {
            Command::Take(take) => {
                if self.set == SetLimit::IfUnknown {
                    self.set = take.set;
                }
                // A limit that is closed sends each command once.
                if take.charge && !self.closed {
                    self.debt = self.debt.saturating_add(take.least);
                }
            }
            Command::Return(_) => {}
        }
    }

    /// Records that the store is lost or found. The tokens that were taken may be used. What was
    /// used while it was away is not charged later.
    pub(super) const fn forget(&mut self) {
        self.debt = 0;
        self.none_until = None;
        self.more_at = None;
        self.ask_at = None;
        self.attempts.retry_now();
    }
}

/// Returns how many tokens can be taken together.
fn burst(quotas: &[SharedQuota]) -> u64 {
    let bursts = quotas.iter().map(|quota| u64::from(quota.burst));
    bursts.min().unwrap_or(0)
}

fn earlier(moment: Moment, by: Duration) -> Option<Moment> {
    let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
    moment.as_nanos().checked_sub(by).map(Moment::from_nanos)
}
