//! The permits that an attempt holds, and whether a layer holds the attempt back.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::{Attempt, Link};
use crate::sync::lock;

/// A permit without a lock, for the usual one or two. The layer at `depth` alone writes it.
#[derive(Debug)]
pub(super) struct PermitSlot {
    /// The address of the limit, which is alive while its permit is held; 0 if the slot is free.
    limit: AtomicUsize,
    depth: AtomicU32,
}

/// A permit of the limit at an address, held by the layer at a depth.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Permit {
    limit: usize,
    depth: u32,
}

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
    /// Records a permit that the layer at `depth` holds.
    #[inline]
    pub(crate) fn hold(&self, limit: usize, depth: u32) {
        match self.layers.permits.iter().find(|slot| slot.is_free()) {
            Some(slot) => slot.fill(limit, depth),
            None => self.change().rare().permits.push(Permit { limit, depth }),
        }
    }

    /// Removes the permit that the layer at `depth` held.
    #[inline]
    pub(crate) fn release(&self, limit: usize, depth: u32) {
        let held = Permit { limit, depth };
        match self.layers.permits.iter().find(|slot| slot.holds(&held)) {
            Some(slot) => slot.free_up(),
            None => {
                self.with_rare(|rare| rare.permits.retain(|permit| *permit != held));
            }
        }
    }

    /// Returns whether the attempt, or a layer around it, holds a permit of the limit.
    pub(in crate::call) fn holds(&self, limit: usize) -> bool {
        self.holds_outside(limit, u32::MAX)
    }

    fn holds_outside(&self, limit: usize, depth: u32) -> bool {
        let is_outside = |permit: &Permit| permit.limit == limit && permit.depth < depth;
        let mut slots = self.layers.permits.iter().filter_map(PermitSlot::get);
        slots.any(|permit| is_outside(&permit))
            || self
                .with_rare(|rare| rare.permits.iter().any(is_outside))
                .unwrap_or(false)
            || self
                .link()
                .is_some_and(|Link { attempt, depth }| attempt.holds_outside(limit, depth + 1))
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
        while let Some(link) = attempt.made_inside() {
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
        while let Some(link) = attempt.made_inside() {
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

    /// Returns the attempt of the same call that this one was made inside of.
    fn made_inside(&self) -> Option<&Link> {
        self.link()
            .filter(|link| link.attempt.serial() == self.serial())
    }
}

// === impl PermitSlot ===

impl PermitSlot {
    const FREE: usize = 0;

    pub(super) const fn free() -> Self {
        Self {
            limit: AtomicUsize::new(Self::FREE),
            depth: AtomicU32::new(0),
        }
    }

    #[inline]
    fn is_free(&self) -> bool {
        self.limit.load(Ordering::Relaxed) == Self::FREE
    }

    /// The Release store comes last and pairs with the Acquire load in `get`.
    #[inline]
    fn fill(&self, limit: usize, depth: u32) {
        self.depth.store(depth, Ordering::Relaxed);
        self.limit.store(limit, Ordering::Release);
    }

    #[inline]
    fn free_up(&self) {
        self.limit.store(Self::FREE, Ordering::Release);
    }

    #[inline]
    fn holds(&self, permit: &Permit) -> bool {
        self.limit.load(Ordering::Relaxed) == permit.limit
            && self.depth.load(Ordering::Relaxed) == permit.depth
    }

    fn get(&self) -> Option<Permit> {
        let limit = self.limit.load(Ordering::Acquire);
        let depth = self.depth.load(Ordering::Relaxed);
        (limit != Self::FREE).then_some(Permit { limit, depth })
    }
}
