//! Enters layers, and keeps what they set for everything inside.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::end::Mark;
use super::limits::LimitSlot;
use super::publish::AtomicKeep;
use super::{Attempt, Layers};
use crate::call::bound::{AtomicBound, Bound};
use crate::call::clock::{AtomicMoment, Moment};
use crate::error::TimeoutScope;

// === impl Attempt ===

impl Attempt {
    pub(in crate::call) fn started(&self) -> Option<Moment> {
        self.call().started.get()
    }

    #[inline]
    pub(crate) fn now(&self) -> Moment {
        self.carried_reading().unwrap_or_else(Moment::now)
    }

    /// Returns the reading of the clock that is carried through a synchronous section.
    #[inline]
    pub(crate) fn carried_reading(&self) -> Option<Moment> {
        self.layers.reading.get()
    }

    /// Sets or removes the reading of the clock that is carried.
    #[inline]
    pub(crate) fn carry_reading(&self, reading: Option<Moment>) {
        self.layers.reading.set(reading);
    }

    /// Enters one more layer. Returns its depth.
    #[inline(always)]
    pub(crate) fn enter(&self) -> u32 {
        let depth = self.layers.depth.load(Ordering::Relaxed) + 1;
        self.layers.depth.store(depth, Ordering::Release);
        if depth == 1 {
            self.start();
        }
        depth
    }

    /// Numbers the attempt. The first attempt that is called starts the call and its clock.
    fn start(&self) {
        let call = self.call();
        if call.forked.load(Ordering::Acquire) {
            self.number();
            self.try_again();
        } else {
            // No other attempt can take this number.
            call.attempts.store(1, Ordering::Relaxed);
            self.layers.number.store(1, Ordering::Release);
        }
        if call.started.get().is_none() {
            call.started.set(Some(Moment::now()));
            self.layers.starts_call.store(true, Ordering::Release);
        }
    }

    /// Returns the reading of the clock that the layer at `depth` took, if it started the call.
    #[inline]
    pub(crate) fn own_reading(&self, depth: u32) -> Option<Moment> {
        match depth == 1 && self.layers.starts_call.load(Ordering::Acquire) {
            true => self.started(),
            false => None,
        }
    }

    /// Registers a timeout layer. Returns whether it is the outermost.
    #[inline]
    pub(crate) fn enter_timeout(&self) -> bool {
        let outermost = !self.is_timed();
        self.layers.timed.store(true, Ordering::Release);
        outermost
    }

    #[inline]
    pub(crate) fn is_timed(&self) -> bool {
        self.layers.timed.load(Ordering::Acquire)
    }

    #[inline]
    pub(crate) fn set_bound(&self, bound: Bound) {
        self.layers.bound.set(bound);
    }

    /// Returns the nearest limit: that of a timeout layer or the caller's deadline.
    pub(crate) fn bound(&self) -> Option<Bound> {
        let around = self.layers.bound.get();
        let Some(deadline) = self.settings.deadline else {
            return around;
        };
        if around.is_some_and(|around| around.at() <= deadline) {
            return around;
        }
        Some(self.bound_of_caller(deadline))
    }

    pub(crate) fn bound_of_caller(&self, deadline: Moment) -> Bound {
        let started = self.started().unwrap_or_else(Moment::now);
        Bound::between(started, deadline, TimeoutScope::Deadline)
    }
}

// === impl Layers ===

impl Layers {
    #[inline(always)]
    pub(super) const fn new() -> Self {
        Self {
            depth: AtomicU32::new(0),
            number: AtomicU32::new(0),
            ended: Mark::none(),
            starts_call: AtomicBool::new(false),
            timed: AtomicBool::new(false),
            was_held_back: AtomicBool::new(false),
            on_task: AtomicBool::new(false),
            reading: AtomicMoment::none(),
            bound: AtomicBound::none(),
            limits: [const { LimitSlot::free() }; 4],
            keep: AtomicKeep::none(),
        }
    }

    /// Takes over what the layers around a fork have set.
    pub(super) fn inherit(&self, outer: &Self) {
        let is_timed = outer.timed.load(Ordering::Acquire);
        self.timed.store(is_timed, Ordering::Relaxed);
        if let Some(bound) = outer.bound.get() {
            self.bound.set(bound);
        }
        if let Some(keep) = outer.keep.get() {
            self.keep.set(keep.inherited());
        }
    }
}
