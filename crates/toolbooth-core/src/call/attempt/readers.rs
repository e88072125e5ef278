//! The readers of the updates of an attempt.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Attempt;
use super::end::OUTERMOST;
use crate::call::updates::{Sender, Update, UpdateKind};

/// What sends updates to the readers of an attempt. Its forks before the first layer share them.
/// So a stream of updates ends with the last attempt that has no other around it.
pub(super) type Senders = Arc<[Arc<Sender>]>;

// === impl Attempt ===

impl Attempt {
    /// Adds a reader of what this attempt publishes. If it is over, the reader's stream ends.
    pub(in crate::call) fn add_reader(&self, sender: Sender) {
        let mut state = self.change();
        if self.ended_outside(OUTERMOST + 1).is_some() {
            return;
        }
        let readers = &mut state.rare().readers;
        let senders = readers.iter().flat_map(|senders| senders.iter());
        let read = senders.filter(|sender| sender.is_read()).cloned();
        let replaced = readers.replace(read.chain([Arc::new(sender)]).collect());
        self.has_readers.store(true, Ordering::Release);
        drop(state);
        drop(replaced);
    }

    /// Shares the readers of the attempt from which this one was forked. One that is inside of
    /// layers finds them there.
    pub(super) fn inherit_readers(&self, from: &Self) {
        if from.depth() == 0 {
            if let Some(readers) = from.readers() {
                self.change().rare().readers = Some(readers);
                self.has_readers.store(true, Ordering::Release);
            }
        }
    }

    /// Drops the readers of an attempt in whose place a fork is made. One that has entered layers
    /// keeps them, for the fork, too.
    pub(in crate::call) fn leave_readers(&self) {
        if self.depth() == 0 {
            drop(self.with_rare(|rare| rare.readers.take()));
        }
    }

    /// Returns whether something reads updates, unless the attempt is over.
    #[inline]
    pub(in crate::call) fn is_read(&self) -> bool {
        self.has_readers() && !self.is_over()
    }

    /// Returns whether something has read updates of this attempt, or of one around.
    #[inline]
    fn has_readers(&self) -> bool {
        let link = || self.link().is_some_and(|link| link.attempt.has_readers());
        self.has_readers.load(Ordering::Acquire) || link()
    }

    /// Sends an update to all readers, those of the attempts around, too.
    #[cold]
    pub(in crate::call) fn send_update(&self, kind: UpdateKind) {
        let attempt = self.number();
        self.send(&Update { attempt, kind });
    }

    fn send(&self, update: &Update) {
        let readers = self.readers();
        let senders = readers.iter().flat_map(|senders| senders.iter());
        senders.for_each(|sender| sender.send(update.clone()));
        if let Some(link) = self.link() {
            link.attempt.send(update);
        }
    }

    fn readers(&self) -> Option<Senders> {
        match self.has_readers.load(Ordering::Acquire) {
            true => self.with_rare(|rare| rare.readers.clone()).flatten(),
            false => None,
        }
    }
}
