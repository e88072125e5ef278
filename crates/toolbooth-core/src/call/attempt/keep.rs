//! What an attempt keeps of what it publishes.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Attempt, Shared};
use crate::response::{Checkpointed, Content, Displaced, KeepPolicy, MAX_CHECKPOINT, Partials};
use crate::sync::lock;

/// A [`KeepPolicy`] that is set by the outermost layer that keeps partial results.
#[derive(Debug, Default)]
pub(super) struct Keep(AtomicU64, AtomicU64);

impl Attempt {
    /// Keeps by this policy of the layer at `depth`, unless a layer further out said by which.
    pub(crate) fn keep(&self, policy: KeepPolicy, depth: u32) {
        if self.keep.get().is_none() {
            self.keeper.store(depth, Ordering::Release);
            self.keep.set(policy);
        }
    }

    /// Whether the layer at `depth` is the one that keeps what is streamed.
    pub(crate) fn is_keeper(&self, depth: u32) -> bool {
        self.keeper.load(Ordering::Acquire) == depth
    }

    /// Whether anything that is published is kept.
    pub(in crate::call) fn keeps(&self) -> bool {
        self.keep.get().is_some()
    }

    /// Lets `record` add to what this attempt has kept, unless nothing is kept or the attempt is over.
    pub(in crate::call) fn record(
        &self,
        record: impl FnOnce(&mut Partials, u32, KeepPolicy) -> Displaced,
    ) {
        self.record_unless_closed(u32::MAX, || self.number(), record);
    }

    /// The same for what comes by a layer at `depth`: from the attempt that was called last.
    pub(crate) fn record_at(
        &self,
        depth: u32,
        record: impl FnOnce(&mut Partials, u32, KeepPolicy) -> Displaced,
    ) {
        self.record_unless_closed(
            depth,
            || self.call().attempts.load(Ordering::Acquire),
            record,
        );
    }

    fn record_unless_closed(
        &self,
        depth: u32,
        attempt: impl FnOnce() -> u32,
        record: impl FnOnce(&mut Partials, u32, KeepPolicy) -> Displaced,
    ) {
        if let Some(policy) = self.keep.get() {
            let mut partials = lock(&self.call().shared().partials);
            if self.closed_outside(depth).is_none() {
                let displaced = record(&mut partials, attempt(), policy);
                drop(partials);
                drop(displaced);
            }
        }
    }

    /// What a tool answered, whole, when its time was over: instead of what it had published.
    pub(crate) fn keep_late(&self, depth: u32, contents: Vec<Content>) {
        let mut partials = lock(&self.call().shared().partials);
        if self.closed_outside(depth).is_none() {
            let displaced = partials.late(self.call().attempts.load(Ordering::Acquire), contents);
            drop(partials);
            drop(displaced);
        }
    }

    /// Keeps what the attempts of the call share, unless this one is over.
    pub(in crate::call) fn checkpoint(&self, content: Content) -> Checkpointed {
        if content.size() > MAX_CHECKPOINT {
            return Checkpointed::TooLarge;
        }
        let mut partials = lock(&self.call().shared().partials);
        if self.is_closed() {
            return Checkpointed::Over;
        }
        let before = partials.set_checkpoint(content);
        drop(partials);
        drop(before);
        Checkpointed::Kept
    }

    pub(in crate::call) fn partials<T>(
        &self,
        read: impl FnOnce(&mut Partials, u32) -> Option<T>,
    ) -> Option<T> {
        let shared = self.call().shared.get()?;
        read(
            &mut lock(&shared.partials),
            self.number.load(Ordering::Acquire),
        )
    }

    #[inline]
    pub(super) fn end_partials(&self) {
        if let Some(shared) = self.call().shared.get() {
            self.end_shared(shared);
        }
    }

    #[cold]
    fn end_shared(&self, shared: &Shared) {
        let ended = lock(&shared.partials).end(self.number.load(Ordering::Acquire));
        drop(ended);
    }
}

// === impl Keep ===

impl Keep {
    pub(super) const fn none() -> Self {
        Self(AtomicU64::new(0), AtomicU64::new(0))
    }

    pub(super) fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
        self.1.store(0, Ordering::Relaxed);
    }

    /// Items above, drop-oldest and "there is one" below.
    fn set(&self, policy: KeepPolicy) {
        let items = u64::try_from(policy.max_items())
            .unwrap_or(u64::MAX)
            .min(u64::MAX >> 2);
        let bytes = u64::try_from(policy.max_bytes()).unwrap_or(u64::MAX);
        self.1.store(bytes, Ordering::Release);
        self.0.store(
            items << 2 | u64::from(policy.drops_oldest()) << 1 | 1,
            Ordering::Release,
        );
    }

    fn get(&self) -> Option<KeepPolicy> {
        let packed = present(&self.0)?;
        let size = |number| usize::try_from(number).unwrap_or(usize::MAX);
        let policy = KeepPolicy::new()
            .with_max_items(size(packed >> 2))
            .with_max_bytes(size(self.1.load(Ordering::Acquire)));
        Some(match packed & 2 {
            0 => policy,
            _ => policy.with_drop_oldest(),
        })
    }

    pub(super) fn copy(&self) -> Self {
        let copy = |value: &AtomicU64| AtomicU64::new(value.load(Ordering::Acquire));
        Self(copy(&self.0), copy(&self.1))
    }
}

fn present(number: &AtomicU64) -> Option<u64> {
    match number.load(Ordering::Acquire) {
        0 => None,
        number => Some(number),
    }
}
