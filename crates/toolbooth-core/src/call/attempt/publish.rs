//! What an attempt publishes: activity, progress, partial results, a checkpoint.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::Attempt;
use crate::call::clock::Moment;
use crate::call::progress::Progress;
use crate::call::pulse::{Listener, Pulse};
use crate::call::updates::UpdateKind;
use crate::response::{
    Checkpointed, Content, Displaced, Emitted, KeepPolicy, MAX_CHECKPOINT, Partials,
};
use crate::sync::lock;

/// How the outermost partial-result layer keeps what is published.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keep {
    policy: KeepPolicy,
    /// The depth of that layer, which keeps what is streamed. `INHERITED` if it is a layer of the
    /// attempt from which this one was forked.
    depth: u32,
}

const INHERITED: u32 = u32::MAX;

/// A [`Keep`], or none. One layer writes it, once: the Release store of `depth` comes last and
/// pairs with the Acquire load in `get`. A `OnceLock` costs 18 ns here (`five_full`).
#[derive(Debug)]
pub(super) struct AtomicKeep {
    /// 0 for none.
    depth: AtomicU32,
    drop_oldest: AtomicBool,
    max_items: AtomicUsize,
    max_bytes: AtomicUsize,
}

// === impl Attempt ===

impl Attempt {
    // --- activity

    /// Registers a pulse for everything inside.
    pub(crate) fn listen(&self, pulse: Arc<Pulse>) {
        let listener = Listener { pulse, items: true };
        self.change().rare().listeners.push(listener);
    }

    /// Registers the pulses of the attempt from which this one was forked or made as a child call.
    /// What a child call publishes is no item of its parent's response.
    pub(in crate::call) fn inherit_listeners(&self, from: &Self, items: bool) {
        for listener in from.listeners() {
            let items = listener.items && items;
            let pulse = listener.pulse;
            let listener = Listener { pulse, items };
            self.change().rare().listeners.push(listener);
        }
    }

    fn listeners(&self) -> Vec<Listener> {
        self.with_rare(|rare| rare.listeners.clone())
            .unwrap_or_default()
    }

    /// Records activity, or an item of the response. Does nothing without an outer idle limit, or
    /// after the end.
    pub(in crate::call) fn beat(&self, item: bool) {
        self.with_rare(|rare| {
            if !rare.listeners.is_empty() && !self.is_over() {
                let now = Moment::now();
                rare.listeners
                    .iter()
                    .for_each(|listener| listener.beat(now, item));
            }
        });
    }

    // --- contents

    /// Returns whether a layer keeps contents, an event sink is around, or something reads updates.
    #[inline]
    pub(in crate::call) fn publishes(&self) -> bool {
        self.keeps() || self.is_observed() || self.is_read()
    }

    /// Reports a content to the event sinks and the readers, which share it.
    #[inline]
    pub(in crate::call) fn announce(
        &self,
        content: Content,
        update: fn(Arc<Content>) -> UpdateKind,
    ) -> Emitted {
        match self.is_observed() || self.is_read() {
            true => self.announce_to(content, update),
            false => Emitted::Own(content),
        }
    }

    #[cold]
    fn announce_to(&self, content: Content, update: fn(Arc<Content>) -> UpdateKind) -> Emitted {
        let is_read = self.is_read();
        let is_shared = is_read || self.reports_contents();
        let content = Emitted::new(content, is_shared);
        self.report_published(&content);
        if let (Emitted::Shared(content), true) = (&content, is_read) {
            self.send_update(update(Arc::clone(content)));
        }
        content
    }

    // --- partial results

    /// Sets how published contents are kept, unless an outer layer did.
    #[inline]
    pub(crate) fn keep(&self, policy: KeepPolicy, depth: u32) {
        if !self.keeps() {
            self.layers.keep.set(Keep { policy, depth });
        }
    }

    /// Returns whether the layer at `depth` is the one that keeps what is streamed.
    pub(crate) fn is_keeper(&self, depth: u32) -> bool {
        self.layers
            .keep
            .get()
            .is_some_and(|keep| keep.depth == depth)
    }

    /// Returns whether published contents are kept.
    pub(in crate::call) fn keeps(&self) -> bool {
        self.layers.keep.get().is_some()
    }

    /// Keeps a report of progress and sends it to the readers, unless the attempt is over.
    pub(in crate::call) fn report(&self, progress: Progress) {
        let (keeps, is_read) = (self.keeps(), self.is_read());
        let mut last = None;
        self.publish(u32::MAX, |partials| {
            let displaced = partials.report(progress, keeps);
            last = partials.last_progress().filter(|_| is_read).cloned();
            displaced
        });
        if let Some(progress) = last {
            self.send_update(UpdateKind::Progress(progress));
        }
    }

    /// Adds to what this attempt has kept, unless nothing is kept or the attempt is over.
    pub(in crate::call) fn record(
        &self,
        record: impl FnOnce(&mut Partials, u32, KeepPolicy) -> Displaced,
    ) {
        if let Some(Keep { policy, .. }) = self.layers.keep.get() {
            let number = self.number();
            self.publish(u32::MAX, |partials| record(partials, number, policy));
        }
    }

    /// Adds to what the attempt that was called last has kept, for the layer at `depth`.
    pub(crate) fn record_at(
        &self,
        depth: u32,
        record: impl FnOnce(&mut Partials, u32, KeepPolicy) -> Displaced,
    ) {
        if let Some(Keep { policy, .. }) = self.layers.keep.get() {
            self.publish(depth, |partials| {
                record(partials, self.last_number(), policy)
            });
        }
    }

    /// Keeps a response that came after the limit, instead of what the tool had published.
    pub(crate) fn keep_late(&self, depth: u32, contents: Vec<Content>) {
        self.publish(depth, |partials| {
            partials.late(self.last_number(), contents)
        });
    }

    /// Keeps a checkpoint for the later attempts of the call, unless this one is over.
    pub(in crate::call) fn checkpoint(&self, content: Content) -> Checkpointed {
        if content.size() > MAX_CHECKPOINT {
            return Checkpointed::TooLarge;
        }
        match self.publish(u32::MAX, |partials| partials.set_checkpoint(content)) {
            true => Checkpointed::Kept,
            false => Checkpointed::Over,
        }
    }

    /// Changes what is kept, unless a part outside of `depth` has ended: then returns false. What
    /// the change displaces is dropped after the lock, since dropping bytes may run anything.
    fn publish<T>(&self, depth: u32, change: impl FnOnce(&mut Partials) -> T) -> bool {
        let mut partials = lock(&self.call().published().partials);
        if self.ended_outside(depth).is_some() {
            return false;
        }
        let displaced = change(&mut partials);
        drop(partials);
        drop(displaced);
        true
    }

    fn last_number(&self) -> u32 {
        self.call().attempts.load(Ordering::Acquire)
    }

    /// Reads what the call has kept, with the number of this attempt.
    pub(in crate::call) fn partials<T>(
        &self,
        read: impl FnOnce(&mut Partials, u32) -> Option<T>,
    ) -> Option<T> {
        let number = self.layers.number.load(Ordering::Acquire);
        read(&mut lock(&self.call().published.get()?.partials), number)
    }

    #[inline]
    pub(super) fn end_partials(&self) {
        if let Some(published) = self.call().published.get() {
            self.end_kept(&published.partials);
        }
    }

    #[cold]
    fn end_kept(&self, partials: &Mutex<Partials>) {
        let ended = lock(partials).end(self.layers.number.load(Ordering::Acquire));
        drop(ended);
    }
}

// === impl Keep ===

impl Keep {
    /// Returns the same for a fork.
    pub(super) const fn inherited(self) -> Self {
        Self {
            depth: INHERITED,
            ..self
        }
    }
}

// === impl AtomicKeep ===

impl AtomicKeep {
    pub(super) const fn none() -> Self {
        Self {
            depth: AtomicU32::new(0),
            drop_oldest: AtomicBool::new(false),
            max_items: AtomicUsize::new(0),
            max_bytes: AtomicUsize::new(0),
        }
    }

    #[inline]
    pub(super) fn set(&self, keep: Keep) {
        let KeepPolicy {
            max_items,
            max_bytes,
            drop_oldest,
        } = keep.policy;
        self.drop_oldest.store(drop_oldest, Ordering::Relaxed);
        self.max_items.store(max_items, Ordering::Relaxed);
        self.max_bytes.store(max_bytes, Ordering::Relaxed);
        self.depth.store(keep.depth, Ordering::Release);
    }

    #[inline]
    pub(super) fn get(&self) -> Option<Keep> {
        let depth = self.depth.load(Ordering::Acquire);
        let policy = KeepPolicy {
            max_items: self.max_items.load(Ordering::Relaxed),
            max_bytes: self.max_bytes.load(Ordering::Relaxed),
            drop_oldest: self.drop_oldest.load(Ordering::Relaxed),
        };
        (depth != 0).then_some(Keep { policy, depth })
    }
}
