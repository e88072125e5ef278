//! Permits that work keeps after the layer that acquired them has ended.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, Weak};

use super::{CallContext, LimitId};
use crate::sync::lock;

/// A guard that keeps the permits of a call until it is dropped. See
/// [`CallContext::keep_permits`].
#[must_use = "dropping it releases the permits"]
#[derive(Clone, Default)]
pub struct KeptPermits(Vec<Arc<Kept>>);

/// The permit of one layer, shared by the work that keeps it. It is empty until the layer ends,
/// and the last owner drops it.
pub(super) struct Kept {
    limit: LimitId,
    permit: Mutex<Option<Box<dyn Any + Send>>>,
    /// Wakes the calls that wait for a permit, some of which inherit this one.
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

/// Permits while something else keeps them.
#[derive(Debug, Clone)]
pub(super) struct WeakPermits(Vec<Weak<Kept>>);

// === impl CallContext ===

impl CallContext {
    /// Keeps the permits of this call until the returned guard is dropped, however long that is
    /// after the call: those of limits that are [held until all has ended][until].
    ///
    /// For tools and layers of which something outlives the call that is neither a hook nor a
    /// task: a process, a job on a server. Take the guard before that starts. Permits of other
    /// limits are released at the end of the call.
    ///
    /// [until]: https://docs.rs/toolbooth/latest/toolbooth/struct.ConcurrencyLimitLayer.html#method.with_hold_until_ended
    pub fn keep_permits(&self) -> KeptPermits {
        self.attempt_state().permits_until_ended()
    }
}

// === impl KeptPermits ===

impl KeptPermits {
    pub(super) fn add(&mut self, kept: Arc<Kept>) {
        if !self.0.iter().any(|other| Arc::ptr_eq(other, &kept)) {
            self.0.push(kept);
        }
    }

    pub(super) fn add_all(&mut self, others: &Self) {
        for kept in &others.0 {
            self.add(Arc::clone(kept));
        }
    }

    pub(super) fn contain(&self, limit: LimitId) -> bool {
        self.0.iter().any(|kept| kept.limit == limit)
    }

    /// Wakes attempts of the call that wait: what keeps the permits is in an enclosing attempt now,
    /// from which they inherit. Called without a lock.
    pub(super) fn wake_heirs(&self) {
        self.0.iter().for_each(|kept| kept.wake());
    }

    /// Returns `None` if there are none.
    pub(super) fn downgrade(&self) -> Option<WeakPermits> {
        let permits = || WeakPermits(self.0.iter().map(Arc::downgrade).collect());
        (!self.0.is_empty()).then(permits)
    }
}

impl fmt::Debug for KeptPermits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptPermits")
            .field("len", &self.0.len())
            .finish_non_exhaustive()
    }
}

// === impl Kept ===

impl Kept {
    pub(super) fn new(limit: LimitId) -> Arc<Self> {
        Arc::new(Self {
            limit,
            permit: Mutex::new(None),
            wake: OnceLock::new(),
        })
    }

    pub(super) fn set_wake(&self, wake: impl Fn() + Send + Sync + 'static) {
        self.wake.get_or_init(|| Box::new(wake));
    }

    pub(super) fn wake(&self) {
        if let Some(wake) = self.wake.get() {
            wake();
        }
    }

    pub(super) fn set(&self, permit: impl Any + Send) {
        *lock(&self.permit) = Some(Box::new(permit));
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}

// === impl WeakPermits ===

impl WeakPermits {
    pub(super) fn upgrade(&self) -> impl Iterator<Item = Arc<Kept>> {
        self.0.iter().filter_map(Weak::upgrade)
    }

    pub(super) fn contain(&self, limit: LimitId) -> bool {
        self.upgrade().any(|kept| kept.limit == limit)
    }
}
