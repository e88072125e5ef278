//! The limits that an attempt has passed, and the permits that its layers hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Attempt, Link, RareState, State};
use crate::call::LimitId;
use crate::call::kept::{Kept, KeptPermits, WeakPermits};
use crate::sync::lock;

/// A record without a lock, for the usual few. The layer that fills it alone changes it.
#[derive(Debug)]
pub(super) struct LimitSlot(AtomicU64);

/// A limit that the layer at a depth has passed, and how. One word: see [`PassedLimit::new`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PassedLimit(u64);

/// How a layer passes a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    /// It counted the attempt.
    Counted,
    /// It holds a permit, which blocking work of the call keeps.
    Permit,
    /// It holds a permit, which all work of the call keeps.
    PermitUntilEnded,
}

// === impl Attempt ===

impl Attempt {
    /// Records that the layer at `depth` passes the limit.
    #[inline]
    pub(crate) fn record_limit(&self, limit: LimitId, depth: u32, pass: Pass) {
        let passed = PassedLimit::new(limit, depth, pass);
        match self.layers.limits.iter().find(|slot| slot.is_free()) {
            Some(slot) => slot.fill(passed),
            None => self.record_further(passed),
        }
    }

    #[cold]
    fn record_further(&self, passed: PassedLimit) {
        self.change().rare().limits.push(passed);
    }

    /// Releases the permit of the layer at `depth`: drops it when nothing keeps it any more.
    ///
    /// Returns true if hooks keep it that layers outside have yet to run. Then `wake` is called,
    /// and once more for each enclosing attempt to which the hooks are left.
    #[inline]
    pub(crate) fn release_limit<T>(
        &self,
        limit: LimitId,
        depth: u32,
        permit: T,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> bool
    where
        T: Send + 'static,
    {
        // The record is removed first: work that starts after the look below finds none.
        let mut slots = self.layers.limits.iter();
        let is_own = |passed: PassedLimit| passed.is_at(limit, depth);
        let slot = slots.find(|slot| slot.get().is_some_and(is_own));
        let passed = slot.and_then(LimitSlot::take);
        match self.has_state() {
            true => self.release_kept(limit, depth, passed, permit, wake),
            false => false,
        }
    }

    #[cold]
    fn release_kept<T>(
        &self,
        limit: LimitId,
        depth: u32,
        passed: Option<PassedLimit>,
        permit: T,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> bool
    where
        T: Send + 'static,
    {
        let mut state = lock(&self.state);
        let State { hooks, rare, .. } = &mut *state;
        let passed = passed.or_else(|| {
            let rare = rare.as_deref_mut()?;
            let is_own = |passed: &PassedLimit| passed.is_at(limit, depth);
            let index = rare.limits.iter().position(is_own)?;
            Some(rare.limits.swap_remove(index))
        });
        let until_ended = passed.is_some_and(|passed| passed.pass() == Pass::PermitUntilEnded);
        let mut kept = rare.as_deref_mut().and_then(|rare| {
            let index = rare
                .kept
                .iter()
                .position(|(at, _)| at.is_at(limit, depth))?;
            Some(rare.kept.swap_remove(index).1)
        });
        let hooks = hooks.as_mut().filter(|hooks| !hooks.is_empty());
        let pending = hooks.filter(|_| until_ended);
        let is_pending = pending.is_some();
        if let Some(hooks) = pending {
            let kept = kept.get_or_insert_with(|| Kept::new(limit));
            kept.set_wake(wake);
            hooks.permits().add(Arc::clone(kept));
        }
        drop(state);
        // Without the lock: the last owner drops the permit, which wakes waiters.
        if let Some(kept) = kept {
            kept.set(permit);
            if is_pending {
                kept.wake();
            }
        }
        is_pending
    }

    /// Returns whether a layer around the one at `depth` has passed the limit: in this attempt, in
    /// an enclosing one, or in a call above.
    #[inline]
    pub(crate) fn inherits_limit(&self, limit: LimitId, depth: u32) -> bool {
        // The layer that looks has recorded nothing yet: all layers in the list are around it.
        depth > 1 && self.has_limit(limit)
            || self.is_enclosed() && self.has_limit_outside(limit, u32::MAX)
    }

    /// Returns whether the attempt is inside of layers of another one, or made by a hook.
    #[inline]
    fn is_enclosed(&self) -> bool {
        self.around().is_some() || self.permits_of_hook().is_some()
    }

    /// Returns whether a layer of this attempt has passed the limit.
    #[inline]
    pub(crate) fn has_limit(&self, limit: LimitId) -> bool {
        self.has_own_limit(limit, u32::MAX)
    }

    #[cold]
    fn has_limit_outside(&self, limit: LimitId, depth: u32) -> bool {
        self.has_own_limit(limit, depth)
            || match self.around() {
                Some(Link { attempt, depth }) => {
                    attempt.has_limit_outside(limit, depth.saturating_add(1))
                }
                None => {
                    let permits = self.permits_of_hook();
                    permits.is_some_and(|permits| permits.contain(limit))
                }
            }
    }

    /// Returns the permits that a hook keeps, if the hook made the outermost call.
    #[inline]
    fn permits_of_hook(&self) -> Option<&WeakPermits> {
        self.settings.parent()?.permits.as_ref()
    }

    /// Also true if hooks keep the permit of a layer that has ended.
    #[inline]
    fn has_own_limit(&self, limit: LimitId, depth: u32) -> bool {
        let is_searched = |passed: PassedLimit| passed.is_of(limit) && passed.is_outside(depth);
        let mut slots = self.layers.limits.iter().filter_map(LimitSlot::get);
        slots.any(is_searched) || self.has_state() && self.has_further(limit, is_searched)
    }

    #[cold]
    fn has_further(&self, limit: LimitId, is_searched: impl Fn(PassedLimit) -> bool) -> bool {
        lock(&self.state).has_limit(limit, is_searched)
    }

    // --- work that outlives the call

    /// Returns the permits that blocking work keeps until it has ended.
    pub(in crate::call) fn permits_of_blocking(&self) -> KeptPermits {
        self.permits_kept(|pass| pass != Pass::Counted)
    }

    /// Returns the permits that any other work keeps until it has ended.
    pub(in crate::call) fn permits_until_ended(&self) -> KeptPermits {
        self.permits_kept(|pass| pass == Pass::PermitUntilEnded)
    }

    /// Returns the permits of the layers around: of this call and of those above.
    fn permits_kept(&self, is_kept: impl Fn(Pass) -> bool) -> KeptPermits {
        let mut permits = KeptPermits::default();
        self.add_permits(u32::MAX, &is_kept, &mut permits);
        permits
    }

    fn add_permits(&self, depth: u32, is_kept: &impl Fn(Pass) -> bool, permits: &mut KeptPermits) {
        let is_searched = |passed: &PassedLimit| is_kept(passed.pass()) && passed.is_outside(depth);
        let slots = || self.layers.limits.iter().filter_map(LimitSlot::get);
        let is_recorded = slots().any(|passed| is_searched(&passed));
        if is_recorded || self.has_state() {
            let mut state = self.change();
            // Read again, under the lock: see `release_limit`.
            for passed in slots().chain(state.more_limits()).filter(is_searched) {
                permits.add(state.rare().kept_permit(passed));
            }
            if let Some(hooks) = &mut state.hooks {
                permits.add_all(hooks.permits());
            }
        }
        match (self.around(), self.permits_of_hook()) {
            (Some(Link { attempt, depth }), _) => {
                attempt.add_permits(depth.saturating_add(1), is_kept, permits);
            }
            (None, Some(of_hook)) => of_hook.upgrade().for_each(|kept| permits.add(kept)),
            (None, None) => {}
        }
    }
}

// === impl State ===

impl State {
    fn has_limit(&mut self, limit: LimitId, is_searched: impl Fn(PassedLimit) -> bool) -> bool {
        let rare = self.rare.as_deref();
        rare.is_some_and(|rare| rare.limits.iter().copied().any(is_searched))
            || (self.hooks.as_mut()).is_some_and(|hooks| hooks.permits().contain(limit))
    }

    /// Returns the limits that found no slot.
    fn more_limits(&self) -> Vec<PassedLimit> {
        let rare = self.rare.as_deref();
        rare.map_or_else(Vec::new, |rare| rare.limits.clone())
    }
}

// === impl RareState ===

impl RareState {
    /// Returns what keeps the permit of a layer once the layer has ended.
    fn kept_permit(&mut self, passed: PassedLimit) -> Arc<Kept> {
        if let Some((_, kept)) = self.kept.iter().find(|(of, _)| *of == passed) {
            return Arc::clone(kept);
        }
        let kept = Kept::new(passed.limit());
        self.kept.push((passed, Arc::clone(&kept)));
        kept
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
    fn take(&self) -> Option<PassedLimit> {
        let passed = self.get();
        self.0.store(Self::FREE, Ordering::Release);
        passed
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
    const DEPTH_BITS: u32 = 14;
    const DEPTH: u64 = (1 << Self::DEPTH_BITS) - 1;
    const PASS_AT: u32 = LimitId::BITS + Self::DEPTH_BITS;

    /// From the lowest bit: the id, the depth, how the limit was passed.
    #[inline]
    fn new(limit: LimitId, depth: u32, pass: Pass) -> Self {
        Self((pass as u64) << Self::PASS_AT | Self::place(limit, depth))
    }

    /// No stack has 16,383 layers: their futures are nested.
    #[inline]
    fn place(limit: LimitId, depth: u32) -> u64 {
        u64::from(depth).min(Self::DEPTH) << LimitId::BITS | limit.get()
    }

    #[inline]
    fn is_at(self, limit: LimitId, depth: u32) -> bool {
        self.0 & ((1 << Self::PASS_AT) - 1) == Self::place(limit, depth)
    }

    #[inline]
    fn is_of(self, limit: LimitId) -> bool {
        self.0 & Self::ID == limit.get()
    }

    #[inline]
    fn is_outside(self, depth: u32) -> bool {
        self.0 >> LimitId::BITS & Self::DEPTH < u64::from(depth)
    }

    fn limit(self) -> LimitId {
        LimitId::from_bits(self.0 & Self::ID)
    }

    #[inline]
    fn pass(self) -> Pass {
        match self.0 >> Self::PASS_AT {
            0 => Pass::Counted,
            1 => Pass::Permit,
            _ => Pass::PermitUntilEnded,
        }
    }
}
