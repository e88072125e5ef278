//! The rule of an exact window: at most n calls in any period, by a log of the calls.

use std::collections::VecDeque;
use std::time::Duration;

use toolbooth_core::Moment;

use super::gcra::{LONGEST, nanos};

/// The most calls of a window. The log has an entry for each.
pub(super) const MAX_CALLS: u64 = 10_000;

/// How many calls may start in a period.
#[derive(Debug, Clone, Copy)]
pub(super) struct WindowTerms {
    /// From 1 to [`MAX_CALLS`].
    pub(super) calls: u64,
    pub(super) period: Duration,
}

/// A sliding log. Each entry is charged for the moment of its start, never for an earlier one.
#[derive(Debug)]
pub(super) struct Window {
    calls: u64,
    period: u64,
    /// The starts that may still count, in order of time.
    log: VecDeque<Entry>,
    /// The sum of the costs in the log.
    taken: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    at: u64,
    cost: u64,
}

// === impl Window ===

impl Window {
    pub(super) fn new(terms: WindowTerms) -> Self {
        Self {
            calls: terms.calls,
            period: nanos(terms.period).clamp(1, LONGEST),
            log: VecDeque::new(),
            taken: 0,
        }
    }

    /// Creates an empty window of the same terms.
    pub(super) fn fresh(&self) -> Self {
        Self {
            log: VecDeque::new(),
            taken: 0,
            ..*self
        }
    }

    pub(super) fn describe(&self) -> String {
        format!("{} in {:?}", self.calls, Duration::from_nanos(self.period))
    }

    pub(super) const fn calls(&self) -> u64 {
        self.calls
    }

    /// Returns the earliest moment at which the window has room for `cost`; `None` if it never has.
    pub(super) fn earliest(&self, cost: u64) -> Option<u64> {
        let room = self.calls.checked_sub(cost)?;
        let mut surplus = match self.taken.checked_sub(room) {
            None | Some(0) => return Some(0),
            Some(surplus) => surplus,
        };
        for entry in &self.log {
            surplus = match surplus.checked_sub(entry.cost) {
                None | Some(0) => return Some(self.leaves_at(*entry)),
                Some(surplus) => surplus,
            };
        }
        None
    }

    /// Returns the earliest moment at which a call behind waiters of the cost `ahead` starts, as if
    /// these were calls of cost 1.
    pub(super) fn due(&self, ahead: u64, cost: u64, now: Moment) -> Option<u64> {
        self.calls.checked_sub(cost)?;
        let last = ahead.saturating_add(cost.saturating_sub(1));
        let (rounds, place) = (last / self.calls, last % self.calls);
        let of_first_round = self.earliest(place + 1)?;
        let base = match rounds {
            0 => of_first_round,
            _ => of_first_round.max(now.as_nanos()),
        };
        Some(base.saturating_add(self.period.saturating_mul(rounds)))
    }

    /// Records a start at `now`, whether or not there is room. A moment before the last start
    /// counts as that.
    pub(super) fn record(&mut self, cost: u64, now: Moment) {
        self.expire(now);
        self.taken = self.taken.saturating_add(cost);
        let at = now.as_nanos();
        match self.log.back_mut() {
            Some(last) if last.at >= at => last.cost = last.cost.saturating_add(cost),
            _ => self.log.push_back(Entry { at, cost }),
        }
    }

    /// Records a cost that is known afterwards. What is missing then is at most the whole window.
    pub(super) fn charge(&mut self, cost: u64, now: Moment) {
        self.expire(now);
        let room = self.calls.saturating_mul(2).saturating_sub(self.taken);
        match cost.min(room) {
            0 => {}
            cost => self.record(cost, now),
        }
    }

    /// Removes starts that were recorded at `charged` or up to a millisecond later.
    ///
    /// If the exact entry is not known, an older one is removed: a newer one counts for longer.
    pub(super) fn refund(&mut self, cost: u64, charged: Moment, now: Moment) {
        self.expire(now);
        let from = charged.as_nanos();
        if from.saturating_add(self.period) <= now.as_nanos() {
            return;
        }
        let mut left = cost;
        let since = self.log.partition_point(|entry| entry.at < from);
        for entry in self.log.range_mut(since..) {
            let refunded = entry.cost.min(left);
            entry.cost -= refunded;
            left -= refunded;
        }
        self.taken -= cost - left;
        self.log.retain(|entry| entry.cost > 0);
    }

    pub(super) fn remaining(&self, now: Moment) -> u64 {
        let now = now.as_nanos();
        let counts = self
            .log
            .iter()
            .filter(|entry| self.leaves_at(**entry) > now);
        let taken = counts.map(|entry| entry.cost).sum();
        self.calls.saturating_sub(taken)
    }

    /// Returns the moment at which the window is empty, if no call starts until then.
    pub(super) fn empty_at(&self) -> u64 {
        self.log.back().map_or(0, |last| self.leaves_at(*last))
    }

    const fn leaves_at(&self, entry: Entry) -> u64 {
        entry.at.saturating_add(self.period)
    }

    fn expire(&mut self, now: Moment) {
        while let Some(first) = self.log.front().copied() {
            if self.leaves_at(first) > now.as_nanos() {
                break;
            }
            self.log.pop_front();
            self.taken -= first.cost;
        }
    }
}
