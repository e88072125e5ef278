//! Work that a call starts and that cannot be stopped: on threads.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, Weak};

use super::attempt::Attempt;
use crate::sync::lock;

/// Whether the call is cut short or over: for [blocking work](super::CallContext::spawn_blocking) to look at.
#[derive(Clone)]
pub struct CancelFlag(Weak<Attempt>);

/// One piece of blocking work: there is one of these until it has ended. What the call took and the work may still need is kept here.
#[derive(Default)]
pub(super) struct Held(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    permits: Vec<Box<dyn Any + Send>>,
    /// Dropped behind the permits: who waits for the work finds those back.
    counts: Vec<Box<dyn Any + Send>>,
}

/// The blocking work of an attempt, and of all that is inside of it.
#[derive(Debug, Default)]
pub(super) struct Blocking(Mutex<Vec<Weak<Held>>>);

// === impl CancelFlag ===

impl CancelFlag {
    pub(super) fn new(attempt: &Arc<Attempt>) -> Self {
        Self(Arc::downgrade(attempt))
    }

    /// Whether nobody waits for the work any more: the call was cut short, or is over.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.upgrade().is_none_or(|attempt| attempt.is_gone())
    }
}

impl fmt::Debug for CancelFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelFlag")
            .field("cancelled", &self.is_cancelled())
            .finish()
    }
}

// === impl Blocking ===

impl Blocking {
    /// Adds a piece of work, once, however many ways lead here; those that have ended are forgotten. How many there are.
    pub(super) fn add(&self, held: &Arc<Held>) -> usize {
        let held = Arc::downgrade(held);
        let mut list = lock(&self.0);
        list.retain(|other| other.strong_count() > 0 && !other.ptr_eq(&held));
        list.push(held);
        list.len()
    }

    /// The pieces of work that have not ended.
    pub(super) fn running(&self) -> Vec<Arc<Held>> {
        lock(&self.0).iter().filter_map(Weak::upgrade).collect()
    }
}

// === impl Held ===

impl Held {
    pub(super) fn keep_permit(&self, permit: impl Any + Send) {
        lock(&self.0).permits.push(Box::new(permit));
    }

    pub(super) fn keep_count(&self, count: impl Any + Send) {
        lock(&self.0).counts.push(Box::new(count));
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").finish_non_exhaustive()
    }
}
