//! The updates that a reader has not received. No clock, task or lock.

use std::collections::VecDeque;

use super::{Update, UpdateKind};

/// Updates in order, within a bound.
#[derive(Debug)]
pub(super) struct Queue {
    updates: VecDeque<Update>,
    capacity: usize,
    /// How many of them are heartbeats and progress reports.
    heartbeats: usize,
    reports: usize,
    /// How many were dropped since the last one that was received.
    missed: u64,
}

// === impl Queue ===

impl Queue {
    pub(super) const fn new(capacity: usize) -> Self {
        Self {
            updates: VecDeque::new(),
            capacity: if capacity == 0 { 1 } else { capacity },
            heartbeats: 0,
            reports: 0,
            missed: 0,
        }
    }

    /// Appends an update. Returns the one that is dropped for it, if the queue is full.
    pub(super) fn push(&mut self, update: Update) -> Option<Update> {
        let mut dropped = None;
        if self.updates.len() == self.capacity {
            // The updates that are queued are activity enough.
            if update.is_heartbeat() {
                return Some(update);
            }
            dropped = self.make_room(&update);
        }
        if let Some(count) = self.counter(&update.kind) {
            *count += 1;
        }
        self.updates.push_back(update);
        dropped
    }

    /// Removes the next update, or the gap before it.
    pub(super) fn pop(&mut self) -> Option<Update> {
        let next = self.updates.front()?;
        if self.missed > 0 {
            return Some(Update {
                attempt: next.attempt,
                kind: UpdateKind::Lagged(std::mem::take(&mut self.missed)),
            });
        }
        self.remove(0)
    }

    pub(super) fn len(&self) -> usize {
        self.updates.len()
    }

    /// Removes an update that a newer one replaces, otherwise the oldest one, which is missed.
    fn make_room(&mut self, new: &Update) -> Option<Update> {
        match self.replaced_by(new) {
            Some(at) => self.remove(at),
            None => {
                self.missed += 1;
                self.remove(0)
            }
        }
    }

    /// Returns where a heartbeat is, or a report of progress that is not the last.
    ///
    /// From the newest on: a queue that stays full has the last report there.
    fn replaced_by(&self, new: &Update) -> Option<usize> {
        let mut is_replaced = new.is_report();
        if self.heartbeats == 0 && self.reports + usize::from(is_replaced) < 2 {
            return None;
        }
        self.updates.iter().rposition(|update| {
            let found = update.is_heartbeat() || is_replaced && update.is_report();
            is_replaced |= update.is_report();
            found
        })
    }

    fn remove(&mut self, at: usize) -> Option<Update> {
        let removed = self.updates.remove(at)?;
        if let Some(count) = self.counter(&removed.kind) {
            *count -= 1;
        }
        Some(removed)
    }

    const fn counter(&mut self, kind: &UpdateKind) -> Option<&mut usize> {
        match kind {
            UpdateKind::Heartbeat => Some(&mut self.heartbeats),
            UpdateKind::Progress(_) => Some(&mut self.reports),
            _ => None,
        }
    }
}

// === impl Update ===

impl Update {
    const fn is_heartbeat(&self) -> bool {
        matches!(self.kind, UpdateKind::Heartbeat)
    }

    const fn is_report(&self) -> bool {
        matches!(self.kind, UpdateKind::Progress(_))
    }
}
