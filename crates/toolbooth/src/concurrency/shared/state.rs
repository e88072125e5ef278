//! What a process knows of its permits, and what it must report to the store. Pure: the time is an
//! argument.

use std::time::Duration;

use toolbooth_core::Moment;

use crate::shared::{Attempts, PermitsUpdated, SetLimit, Waiting};

/// The permits of a process, and what was reported of them to the store.
#[derive(Debug)]
pub(super) struct State {
    /// The number that holds for all processes.
    permits: u64,
    /// How `permits` is reported with the next command.
    set: SetLimit,
    /// Whether this process has no limit.
    is_lifted: bool,
    /// Those that calls have.
    used: u64,
    /// Those that were granted and that no call has taken yet, and the fencing number of the last.
    free: u64,
    fence: u64,
    /// What the first waiter of the queue and all of them need; `None` without a waiter.
    waiting: Option<Waiting>,
    /// How many the store counts; `None` if that is unknown.
    reported: Option<u64>,
    /// Whether the store may know this holder as waiting.
    listed: bool,
    /// When the last command was sent.
    sent: Option<Moment>,
    /// When the last command was sent that got a reply: from then on the lease counts.
    renewed: Option<Moment>,
    /// Not before this moment is the store asked again, unless it notifies.
    ask_at: Option<Moment>,
    attempts: Attempts,
    number: u64,
    closed: bool,
}

/// A command to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) number: u64,
    pub(super) permits: u64,
    pub(super) set: SetLimit,
    pub(super) held: u64,
    pub(super) least: u64,
    pub(super) most: u64,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Send(Command),
    /// Nothing until this moment, or until something changes.
    Wait(Option<Moment>),
    /// Nothing any more.
    End,
}

// === impl State ===

impl State {
    pub(super) const fn new(permits: u64, set: SetLimit) -> Self {
        Self {
            permits,
            set,
            is_lifted: false,
            used: 0,
            free: 0,
            fence: 0,
            waiting: None,
            reported: Some(0),
            listed: false,
            sent: None,
            renewed: None,
            ask_at: None,
            attempts: Attempts::new(),
            number: 0,
            closed: false,
        }
    }

    pub(super) const fn permits(&self) -> u64 {
        self.permits
    }

    /// Changes the limit of all processes; `None` ends that of this one.
    pub(super) const fn set_permits(&mut self, permits: Option<u64>) {
        self.is_lifted = permits.is_none();
        if let Some(permits) = permits {
            self.permits = permits;
            self.set = SetLimit::Always;
        }
    }

    pub(super) const fn is_lifted(&self) -> bool {
        self.is_lifted
    }

    /// Returns whether the limit holds without the store, because its commands fail.
    pub(super) const fn is_failing(&self) -> bool {
        self.attempts.is_failing()
    }

    pub(super) const fn used(&self) -> u64 {
        self.used
    }

    /// Takes permits that the store has granted. Returns the fencing number.
    pub(super) fn take(&mut self, cost: u64) -> Option<u64> {
        let first = self.fence.saturating_sub(self.free);
        self.free = self.free.checked_sub(cost)?;
        self.used += cost;
        Some(first.saturating_add(cost))
    }

    /// Takes permits while the store is away: of the share of one of `processes`, or without a
    /// limit.
    ///
    /// A call that needs more than the share runs alone, if the limit allows it at all.
    pub(super) fn acquire_away(&mut self, processes: Option<u64>, cost: u64) -> bool {
        let sum = self.used.saturating_add(cost);
        let fits = processes.is_none_or(|processes| {
            let share = (self.permits / processes.max(1)).max(1);
            cost <= self.permits && (sum <= share || self.used == 0)
        });
        if fits {
            self.used = sum;
        }
        fits
    }

    pub(super) fn release(&mut self, cost: u64) {
        self.used = self.used.saturating_sub(cost);
    }

    /// Returns whether there is something new to do.
    pub(super) fn set_waiting(&mut self, waiting: Option<Waiting>) -> bool {
        let before = std::mem::replace(&mut self.waiting, waiting);
        let least = |waiting: Option<Waiting>| waiting.map(|waiting| waiting.least);
        let news = least(before) != least(waiting);
        if news {
            self.ask_at = None;
        }
        news
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Returns what to do. `asking` and `telling` are the commands in flight of a holder that
    /// waits, and of one that does not.
    pub(super) fn next(
        &mut self,
        now: Moment,
        renew_every: Duration,
        asking: Option<Command>,
        telling: Option<Command>,
    ) -> Step {
        // A later command that arrives first would make the store ignore a limit that was set.
        let sets = telling.is_some_and(|command| command.set != SetLimit::IfUnknown);
        if asking.is_some() || sets {
            return Step::Wait(None);
        }
        if self.closed && self.attempts.is_failing() {
            // The permits are free when the lease ends.
            return Step::End;
        }
        // What no call has taken goes back.
        self.free = 0;
        if let Some(retry_at) = self.attempts.retry_at(now) {
            return Step::Wait(Some(retry_at));
        }
        let waits = self.waiting.is_some();
        let renew_at = self.sent.and_then(|sent| sent.after(renew_every));
        let renew_at = renew_at.filter(|_| self.used > 0);
        let is_due = self.reported != Some(self.used)
            || self.listed != waits
            || self.set == SetLimit::Always
            || self.attempts.is_failing()
            || (waits && self.ask_at.is_none_or(|at| at <= now))
            || renew_at.is_some_and(|at| at <= now);
        match is_due {
            true if waits || telling.is_none() => Step::Send(self.command(now)),
            true => Step::Wait(None),
            false if self.closed && telling.is_none() => Step::End,
            false => {
                let ask_at = self.ask_at.filter(|_| waits);
                Step::Wait(ask_at.into_iter().chain(renew_at).min())
            }
        }
    }

    fn command(&mut self, now: Moment) -> Command {
        self.number += 1;
        self.sent = Some(now);
        self.reported = Some(self.used);
        self.listed = self.waiting.is_some();
        Command {
            number: self.number,
            permits: self.permits,
            set: std::mem::replace(&mut self.set, SetLimit::IfUnknown),
            held: self.used,
            least: self.waiting.map_or(0, |waiting| waiting.least),
            most: self.waiting.map_or(0, |waiting| waiting.total),
        }
    }

    /// Records the reply to a command that was sent at `sent`.
    pub(super) fn replied(
        &mut self,
        command: Command,
        sent: Moment,
        reply: &PermitsUpdated,
        now: Moment,
        renew_every: Duration,
    ) {
        self.attempts.succeeded();
        self.renewed = self.renewed.max(Some(sent));
        if self.set != SetLimit::Always {
            self.permits = reply.permits;
        }
        if command.least == 0 {
            return;
        }
        // A store may reply with more than was needed.
        let granted = reply.granted.min(command.most);
        self.free = granted;
        self.fence = reply.fence;
        self.reported = Some(command.held.saturating_add(granted));
        // All that was wanted: there may be more.
        let more = granted == command.most;
        self.listed = !more;
        let pause = reply.retry_after.unwrap_or(renew_every).min(renew_every);
        self.ask_at = match more {
            true => None,
            false => now.after(pause),
        };
    }

    /// Records that a command failed, which may have been executed.
    pub(super) fn failed(&mut self, command: Command, now: Moment) {
        self.attempts.failed(now);
        if self.set == SetLimit::IfUnknown {
            self.set = command.set;
        }
        self.free = 0;
        self.ask_at = None;
        self.reported = None;
    }

    /// Records that the store is lost or found: what it counts is unknown.
    pub(super) fn forget(&mut self) {
        self.free = 0;
        self.ask_at = None;
        self.attempts.retry_now();
        if self.reported != Some(0) || self.used > 0 || self.listed {
            self.reported = None;
        }
    }

    /// Records that the store has notified.
    pub(super) fn notified(&mut self) {
        self.ask_at = None;
    }

    /// Returns the end of the lease, if calls have permits under one.
    pub(super) fn lease_end(&self, lease: Duration) -> Option<Moment> {
        self.renewed
            .filter(|_| self.used > 0)
            .and_then(|renewed| renewed.after(lease))
    }

    /// Records that the lease has ended.
    pub(super) const fn end_lease(&mut self) {
        self.free = 0;
        self.renewed = None;
    }
}
