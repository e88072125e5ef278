//! The limits that an attempt has passed, and whether a layer holds the attempt back.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Attempt, Link};
use crate::call::LimitId;
use crate::sync::lock;

/// A record without a lock, for the usual few. The layer that fills it alone changes it.
#[derive(Debug)]
pub(super) struct LimitSlot(AtomicU64);

/// A limit that the layer at a depth has passed: it holds a permit, or counted the attempt.
///
/// One word: the depth above the id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PassedLimit(u64);

/// Whether a layer holds the attempt back: while it queues, and after it was rejected.
///
/// An attempt made inside of a layer counts for the attempt around, too. So a layer outside of a
/// retry sees whether any attempt got through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeldBack {
    No,
    Yes,
    /// No, and an attempt inside has been called.
    Called,
    /// An attempt was not held back, and another one was called since: this stays.
    Never,
}

// === impl Attempt ===

impl Attempt {
    /// Records that the layer at `depth` holds a permit of the limit, or counted the attempt.
    #[inline]
    pub(crate) fn record_limit(&self, limit: LimitId, depth: u32) {
        let passed = PassedLimit::new(limit, depth);
        match self.layers.limits.iter().find(|slot| slot.is_free()) {
            Some(slot) => slot.fill(passed),
            None => self.change().rare().limits.push(passed),
        }
    }

    /// Removes the record of the layer at `depth`.
    #[inline]
    pub(crate) fn remove_limit(&self, limit: LimitId, depth: u32) {
        let passed = PassedLimit::new(limit, depth);
        let mut slots = self.layers.limits.iter();
        match slots.find(|slot| slot.get() == Some(passed)) {
            Some(slot) => slot.free_up(),
            None => {
                self.with_rare(|rare| rare.limits.retain(|other| *other != passed));
            }
        }
    }

    /// Returns whether a layer around the one at `depth` has recorded the limit: in this attempt,
    /// in an enclosing one, or in a call above.
    #[inline]
    pub(crate) fn inherits_limit(&self, limit: LimitId, depth: u32) -> bool {
        // The layer that looks has recorded nothing yet: all layers in the list are around it.
        (depth > 1 || self.around().is_some()) && self.has_limit_outside(limit, u32::MAX)
    }

    /// Returns whether a layer of this attempt has recorded the limit.
    #[inline]
    pub(crate) fn has_limit(&self, limit: LimitId) -> bool {
        self.has_own_limit(|passed| passed.is_of(limit))
    }

    fn has_limit_outside(&self, limit: LimitId, depth: u32) -> bool {
        self.has_own_limit(|passed| passed.is_of(limit) && passed.is_outside(depth))
            || self.around().is_some_and(|Link { attempt, depth }| {
                let inside = depth.saturating_add(1);
                attempt.has_limit_outside(limit, inside)
            })
    }

    #[inline]
    fn has_own_limit(&self, is_searched: impl Fn(PassedLimit) -> bool) -> bool {
        let mut slots = self.layers.limits.iter().filter_map(LimitSlot::get);
        slots.any(&is_searched)
            || self
                .with_rare(|rare| rare.limits.iter().copied().any(&is_searched))
                .unwrap_or(false)
    }

    // --- held back

    /// Sets whether a layer holds the attempt back.
    pub(crate) fn set_held_back(&self, held_back: bool) {
        let (own, around) = match held_back {
            true => (HeldBack::Yes, HeldBack::Yes),
            false => (HeldBack::No, HeldBack::Called),
        };
        self.update_held_back(own);
        let mut attempt = self;
        while let Some(link) = attempt.link() {
            attempt = &link.attempt;
            attempt.update_held_back(around);
        }
    }

    fn update_held_back(&self, held_back: HeldBack) {
        let mut state = self.change();
        if state.held_back != HeldBack::Never {
            state.held_back = held_back;
        }
    }

    /// Returns whether no attempt got past the layers inside.
    #[inline]
    pub(crate) fn is_held_back(&self) -> bool {
        self.has_state() && lock(&self.state).held_back == HeldBack::Yes
    }

    /// Notifies the enclosing attempts that a later attempt enters its first layer.
    pub(super) fn try_again(&self) {
        let mut attempt = self;
        while let Some(link) = attempt.link() {
            attempt = &link.attempt;
            let was_called = attempt.depth() > link.depth;
            let mut state = attempt.change();
            state.held_back = match state.held_back {
                HeldBack::No if was_called => HeldBack::Never,
                HeldBack::No | HeldBack::Yes => HeldBack::Called,
                HeldBack::Called | HeldBack::Never => HeldBack::Never,
            };
        }
    }
}

// === impl LimitSlot ===

impl LimitSlot {
    const FREE: u64 = 0;

    pub(super) const fn free() -> Self {
        Self(AtomicU64::new(Self::FREE))
    }

    #[inline]
    fn is_free(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::FREE
    }

    #[inline]
    fn fill(&self, passed: PassedLimit) {
        self.0.store(passed.0, Ordering::Release);
    }

    #[inline]
    fn free_up(&self) {
        self.0.store(Self::FREE, Ordering::Release);
    }

    #[inline]
    fn get(&self) -> Option<PassedLimit> {
        let passed = self.0.load(Ordering::Acquire);
        (passed != Self::FREE).then_some(PassedLimit(passed))
    }
}

// === impl PassedLimit ===

impl PassedLimit {
    const ID: u64 = (1 << LimitId::BITS) - 1;
    /// No stack has 65,535 layers: their futures are nested.
    const MAX_DEPTH: u32 = 0xffff;

    #[inline]
    fn new(limit: LimitId, depth: u32) -> Self {
        let depth = u64::from(depth.min(Self::MAX_DEPTH));
        Self(depth << LimitId::BITS | limit.get())
    }

    #[inline]
    fn is_of(self, limit: LimitId) -> bool {
        self.0 & Self::ID == limit.get()
    }

    #[inline]
    fn is_outside(self, depth: u32) -> bool {
        self.0 >> LimitId::BITS < u64::from(depth)
    }
}
