//! The rule of a limit: when a call may start. Pure, with the time as an argument.

use std::fmt;
use std::time::Duration;

use toolbooth_core::Moment;

use crate::middleware::sync::Weak;
use crate::shared::{Place, SharedQueue, StoreRejection, Waiting};

/// A limit as its queue uses it.
///
/// The state is atomic, so that a call that need not wait takes no lock. Acquiring and releasing
/// are `SeqCst`: they are ordered with `has_waiters` of the [`LimitQueue`](super::LimitQueue).
///
/// A `cost` is the number of permits or tokens that one call takes.
///
/// A limiter whose state is in a [store](crate::shared) grants what a task has acquired there for
/// the waiters. The last methods are for it.
pub(crate) trait Limiter: Sized + Send + Sync + 'static {
    /// What the limit is set to.
    type Setting: Copy + fmt::Debug + Send + Sync;

    /// The kind of the layer.
    const KIND: &'static str;

    /// Whether waiters are granted at a point in time. Otherwise a release grants them.
    const TIMED: bool;

    /// Creates a limiter of which nothing is taken. `None` is no limit.
    fn new(setting: Option<Self::Setting>) -> Self;

    /// Creates a limiter with the same limit of which nothing is taken.
    fn fresh(&self) -> Self;

    /// Creates a limiter of one key, or of a group, with this limit of its own and what this
    /// limiter has besides. `None` if that is no limit at all. `is_changed` is whether the limit
    /// was changed since it was configured.
    fn fresh_for(
        &self,
        key: Option<&str>,
        setting: Option<Self::Setting>,
        is_changed: bool,
    ) -> Option<Self>;

    /// Returns whether a limit that this one has besides its own names the key.
    fn names(&self, key: &str) -> bool;

    /// Changes the limit; `None` is no limit. The caller serializes changes.
    fn set(&self, setting: Option<Self::Setting>);

    /// Sets the expected duration of a call, for [`due`](Self::due).
    fn set_service_time(&self, about: Option<Duration>);

    /// Returns the moment from which an unused limiter equals a new one.
    fn idle_from(&self) -> Moment;

    /// Acquires for a call that arrives while no other call waits.
    fn try_acquire(&self, cost: u64, now: impl FnOnce() -> Moment) -> bool;

    /// Acquires for the first waiter.
    fn try_grant(&self, cost: u64, now: Moment) -> Option<Grant>;

    /// Returns what a call acquired: releases permits, or refunds the tokens that it was charged
    /// for at `acquired`.
    fn release(&self, cost: u64, acquired: Moment, now: impl FnOnce() -> Moment);

    /// Returns the limit as text, for errors.
    fn describe(&self) -> String;

    /// Returns a setting as text, for events. `None` if it is no limit.
    fn describe_setting(setting: Option<Self::Setting>) -> Option<String>;

    /// Returns the most that one call can acquire.
    fn capacity(&self) -> u64;

    /// Returns a moment before which a call behind waiters of the cost `ahead` does not start.
    ///
    /// `None` if nothing is known about that.
    fn due(&self, ahead: u64, cost: u64, now: Moment) -> Option<Moment>;

    /// Returns whether calls of a FIFO queue start when [`due`](Self::due) returns, if the limit
    /// does not change.
    fn is_exact(&self) -> bool;

    /// Creates a limiter with the same limit whose state is at a place in a store.
    fn at(&self, place: Place) -> Self;

    /// Returns the place of the state of this limiter, or of those that are made of it.
    fn place(&self) -> Option<&Place>;

    /// Starts the task that sends commands to the store on behalf of the queue, unless it runs.
    fn attach(&self, queue: impl FnOnce() -> Weak<dyn SharedQueue>) {
        let _ = queue;
    }

    /// Learns what the waiters of the queue need. Called under the lock of the queue.
    fn set_waiting(&self, waiting: impl FnOnce() -> Option<Waiting>) {
        let _ = waiting;
    }

    /// Returns why calls that wait are rejected, if they are.
    fn rejection(&self) -> Option<StoreRejection> {
        None
    }
}

/// What a waiter was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grant {
    /// The moment that it is charged for.
    pub(crate) at: Moment,
    /// The fencing number of a permit; 0 for none.
    pub(crate) fence: u64,
    /// The lease of a permit that has a fencing number: one that ends has another number than the
    /// next.
    pub(crate) lease: u64,
}

// === impl Grant ===

impl Grant {
    /// Creates a grant without a fencing number.
    pub(crate) const fn at(at: Moment) -> Self {
        Self {
            at,
            fence: 0,
            lease: 0,
        }
    }
}
