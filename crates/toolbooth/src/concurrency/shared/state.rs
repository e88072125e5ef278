//! What a process knows of its permits, and what it must report to the store. Pure: the time is an
//! argument.

use std::time::Duration;

use toolbooth_core::Moment;

use crate::shared::{PermitsUpdated, SetLimit, Waiting};

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
    lease_ended: bool,
    /// Not before this moment is the store asked again, unless it notifies.
    ask_at: Option<Moment>,
    /// After a command that failed, when the next one is sent.
    retry_at: Option<Moment>,
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

/// The pause after a command that failed.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

// === impl State ===

impl State {
    pub(super) const fn new(permits: u64) -> Self {
        Self {
            permits,
            set: SetLimit::IfConfigured,
            is_lifted: false,
            used: 0,
            free: 0,
            fence: 0,
            waiting: None,
            reported: Some(0),
            listed: false,
            sent: None,
            renewed: None,
            lease_ended: false,
            ask_at: None,
            retry_at: None,
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

    pub(super) const fn used(&self) -> u64 {
        self.used
    }

    /// Takes permits that the store has granted. Returns the fencing number.
    pub(super) fn take(&mut self, cost: u64) -> Option<u64> {
        let first = self.fence.saturating_sub(self.free);
        self.free = self.free.checked_sub(cost)?;
        self.used += cost;
        Some(first + cost)
    }

    /// Takes permits of the share of this process while the store is away.
    ///
    /// A call that needs more than the share runs alone.
    pub(super) fn acquire_away(&mut self, share: u64, cost: u64) -> bool {
        let sum = self.used.saturating_add(cost);
        let fits = sum <= share || self.used == 0;
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

    /// Returns what to do. `asking` and `telling` are whether a command of a holder that waits, or
    /// of one that does not, is in flight.
    pub(super) fn next(
        &mut self,
        now: Moment,
        renew_every: Duration,
        asking: bool,
        telling: bool,
    ) -> Step {
        if asking {
            return Step::Wait(None);
        }
        // What no call has taken goes back.
        self.free = 0;
        if let Some(retry_at) = self.retry_at.filter(|retry_at| now < *retry_at) {
            return Step::Wait(Some(retry_at));
        }
        let waits = self.waiting.is_some();
        let renew_at = self.sent.and_then(|sent| sent.after(renew_every));
        let renew_at = renew_at.filter(|_| self.used > 0);
        let is_due = self.reported != Some(self.used)
            || self.listed != waits
            || self.set == SetLimit::Always
            || (waits && self.ask_at.is_none_or(|at| at <= now))
            || renew_at.is_some_and(|at| at <= now);
        match is_due {
            true if waits || !telling => Step::Send(self.command(now)),
            true => Step::Wait(None),
            false if self.closed && !telling => Step::End,
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
        self.retry_at = None;
        self.renewed = self.renewed.max(Some(sent));
        self.lease_ended = false;
        if self.set != SetLimit::Always {
            self.permits = reply.permits;
        }
        if command.least == 0 {
            return;
        }
        self.free = reply.granted;
        self.fence = reply.fence;
        self.reported = Some(command.held + reply.granted);
        // All that was wanted: there may be more.
        let more = reply.granted == command.most;
        self.listed = !more;
        let pause = reply.retry_after.unwrap_or(renew_every).min(renew_every);
        self.ask_at = match more {
            true => None,
            false => now.after(pause),
        };
    }

    /// Records that a command failed, which may have been executed.
    pub(super) fn failed(&mut self, command: Command, now: Moment) {
        self.retry_at = now.after(RETRY_PAUSE);
        if self.set == SetLimit::IfUnknown {
            self.set = command.set;
        }
        self.forget();
        self.reported = None;
    }

    /// Records that the store is away: what it counts is unknown.
    pub(super) fn forget(&mut self) {
        self.free = 0;
        self.ask_at = None;
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

    /// Records that the lease has ended, until it is renewed.
    pub(super) const fn end_lease(&mut self) {
        self.renewed = None;
        self.lease_ended = true;
    }

    /// Returns whether the lease has ended and was not renewed since.
    pub(super) const fn has_lease_ended(&self) -> bool {
        self.lease_ended
    }
}
