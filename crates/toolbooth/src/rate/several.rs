//! Several quotas and windows that are decided together: a call takes of all of them or of none.

use governor::Quota;
use toolbooth_core::Moment;

use super::gcra::{Gcra, charged_for};
use super::window::Window;

/// Quotas and windows of one bucket. Decided under the lock of [`Rates`](super::rates::Rates).
#[derive(Debug)]
pub(super) struct Several {
    /// The quota that can be changed; without a limit if there is none.
    pub(super) first: Gcra,
    pub(super) quotas: Vec<Gcra>,
    pub(super) windows: Vec<Window>,
    /// No call starts before.
    pub(super) paused_until: Moment,
}

// === impl Several ===

impl Several {
    /// Creates full buckets of quotas alone.
    pub(super) fn of(mut quotas: impl Iterator<Item = Option<Quota>>) -> Self {
        Self {
            first: Gcra::new(quotas.next().flatten()),
            quotas: quotas.map(Gcra::new).collect(),
            windows: Vec::new(),
            paused_until: Moment::from_nanos(0),
        }
    }

    /// Changes all quotas by their position. Those that are missing limit nothing, and more of them
    /// begin full.
    pub(super) fn set_quotas(
        &mut self,
        quotas: impl IntoIterator<Item = Option<Quota>>,
        now: Moment,
    ) {
        let mut quotas = quotas.into_iter();
        for quota in self.quotas() {
            quota.set_quota(quotas.next().flatten(), now);
        }
        self.quotas.extend(quotas.map(Gcra::new));
    }

    pub(super) fn fresh(&self) -> Self {
        Self {
            first: self.first.fresh(),
            quotas: self.quotas.iter().map(Gcra::fresh).collect(),
            windows: self.windows.iter().map(Window::fresh).collect(),
            paused_until: Moment::from_nanos(0),
        }
    }

    pub(super) fn quotas(&self) -> impl Iterator<Item = &Gcra> {
        std::iter::once(&self.first).chain(&self.quotas)
    }

    /// Returns all of them as text.
    pub(super) fn describe(&self) -> String {
        let windows = self.windows.iter().map(|window| window.describe());
        let all: Vec<_> = self
            .quotas()
            .filter_map(quota_text)
            .chain(windows)
            .collect();
        all.join(", and ")
    }

    /// Takes of all for a call that arrives at `now`, or of none.
    pub(super) fn try_acquire(&mut self, cost: u64, now: Moment) -> bool {
        let due = self.earliest(cost);
        let there = due.is_some_and(|due| due <= now.as_nanos());
        if there {
            self.take(cost, now, now);
        }
        there
    }

    /// Takes of all for a waiter, or of none. Returns the moment that quotas were charged for.
    pub(super) fn try_grant(&mut self, cost: u64, now: Moment) -> Option<Moment> {
        let earliest = self.earliest(cost)?;
        let charged = charged_for(earliest, now);
        (charged >= earliest).then(|| {
            let charged = Moment::from_nanos(charged);
            self.take(cost, charged, now);
            charged
        })
    }

    fn take(&mut self, cost: u64, charged: Moment, now: Moment) {
        for quota in self.quotas() {
            quota.try_acquire(cost, charged);
        }
        for window in &mut self.windows {
            window.record(cost, now);
        }
    }

    /// Returns the earliest moment at which all have room for `cost`; `None` if one never has.
    fn earliest(&self, cost: u64) -> Option<u64> {
        let mut earliest = self.paused_until.as_nanos();
        for quota in self.quotas() {
            earliest = earliest.max(quota.due(0, cost)?.as_nanos());
        }
        for window in &self.windows {
            earliest = earliest.max(window.earliest(cost)?);
        }
        Some(earliest)
    }

    /// Returns a moment before which a call behind waiters of the cost `ahead` does not start.
    pub(super) fn due(&self, ahead: u64, cost: u64, now: Moment) -> Option<Moment> {
        let mut due = self.paused_until;
        for quota in self.quotas() {
            due = due.max(quota.due(ahead, cost)?);
        }
        for window in &self.windows {
            due = due.max(Moment::from_nanos(window.due(ahead, cost, now)?));
        }
        Some(due)
    }

    pub(super) fn refund(&mut self, cost: u64, charged: Moment, now: Moment) {
        for quota in self.quotas() {
            quota.refund(cost, charged, now);
        }
        for window in &mut self.windows {
            window.refund(cost, charged, now);
        }
    }

    pub(super) fn charge(&mut self, cost: u64, now: Moment) {
        for quota in self.quotas() {
            quota.charge(cost, now);
        }
        for window in &mut self.windows {
            window.charge(cost, now);
        }
    }

    /// Takes tokens of the quotas, all that are missing.
    pub(super) fn overdraw(&self, cost: u64) {
        for quota in self.quotas() {
            quota.overdraw(cost);
        }
    }

    /// Returns the most that one call can take.
    pub(super) fn capacity(&self) -> u64 {
        let bursts = self.quotas().map(Gcra::burst);
        let calls = self.windows.iter().map(Window::calls);
        bursts.chain(calls).min().unwrap_or(u64::MAX)
    }

    pub(super) fn remaining(&self, now: Moment) -> u32 {
        if self.paused_until > now {
            return 0;
        }
        let tokens = self.quotas().map(|quota| quota.remaining(now));
        let rooms = self.windows.iter().map(|window| window.remaining(now));
        let rooms = rooms.map(|room| u32::try_from(room).unwrap_or(u32::MAX));
        tokens.chain(rooms).min().unwrap_or(u32::MAX)
    }

    /// Returns the moment at which all equal new ones, if no call takes of them until then.
    pub(super) fn full_at(&self) -> Moment {
        let full = self.quotas().map(Gcra::full_at);
        let empty = self.windows.iter().map(Window::empty_at);
        let all = full.chain(empty.map(Moment::from_nanos));
        all.fold(self.paused_until, Moment::max)
    }
}

/// Returns the quota as text. `None` if there is no limit.
pub(super) fn quota_text(gcra: &Gcra) -> Option<String> {
    let quota = gcra.quota()?;
    let (interval, burst) = (quota.replenish_interval(), quota.burst_size());
    Some(format!("a token every {interval:?}, burst of {burst}"))
}
