//! The records by the number of their call, and which one is dropped first.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use toolbooth_core::{Event, EventKind};

use super::entry::Entry;
use super::text::Texts;

/// The records. A running call has an entry in `entries` alone, a call that has ended in `ended` as
/// well.
#[derive(Default)]
pub(super) struct Table {
    /// By the number of the call. A handle, so that a snapshot copies no record under the lock.
    entries: HashMap<u64, Arc<Entry>>,
    /// The numbers of the calls that have ended, in this order.
    ended: BTreeMap<u64, u64>,
    counts: Counts,
}

#[derive(Default, Clone, Copy)]
pub(super) struct Counts {
    pub(super) dropped: u64,
    pub(super) unrecorded: u64,
    /// Counts the recorded events.
    pub(super) version: u64,
}

// === impl Table ===

impl Table {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Records an event. Returns a record that was dropped.
    pub(super) fn apply(
        &mut self,
        event: &Event,
        texts: Texts,
        at: Duration,
        capacity: usize,
    ) -> Option<Arc<Entry>> {
        let mut evicted = None;
        if !self.entries.contains_key(&event.serial) {
            // Events of a call that is not recorded are no news of a recorded one.
            if !matches!(event.kind, EventKind::Invoked { .. }) || event.serial == 0 {
                return None;
            }
            if self.entries.len() >= capacity {
                evicted = self.evict();
                if evicted.is_none() {
                    self.counts.unrecorded += 1;
                    return None;
                }
            }
            self.entries.insert(
                event.serial,
                Arc::new(Entry::new(event, at, self.counts.version)),
            );
        }
        let Some(entry) = self.entries.get_mut(&event.serial) else {
            return evicted;
        };
        self.counts.version += 1;
        let version = self.counts.version;
        let entry = Arc::make_mut(entry);
        let before = entry.ended;
        entry.apply(event, texts, at, version);
        if let Some(before) = before.filter(|before| entry.ended != Some(*before)) {
            self.ended.remove(&before);
        }
        if let Some(ended) = entry.ended {
            self.ended.insert(ended, event.serial);
        }
        evicted
    }

    /// Drops the record of the call that ended first, if one has ended.
    fn evict(&mut self) -> Option<Arc<Entry>> {
        let (_, number) = self.ended.pop_first()?;
        self.counts.dropped += 1;
        self.entries.remove(&number)
    }

    /// Returns the records that have changed since a version.
    pub(super) fn changed_since(&self, version: u64) -> (Vec<Arc<Entry>>, Counts) {
        if version >= self.counts.version {
            return (Vec::new(), self.counts);
        }
        let entries = self.entries.values();
        let changed = entries.filter(|entry| entry.version() > version);
        (changed.cloned().collect(), self.counts)
    }
}
