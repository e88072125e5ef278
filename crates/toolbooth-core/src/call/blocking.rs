//! Blocking tasks that a call starts, which cannot be stopped.

use std::any::Any;
use std::fmt;
use std::sync::{Mutex, Weak};

use tokio_util::sync::CancellationToken;

use super::KeptPermits;
use crate::sync::lock;

/// Shows a [blocking task](super::CallContext::spawn_blocking) whether its call is cancelled or
/// over.
#[derive(Clone)]
pub struct CancelFlag(CancellationToken);

/// A blocking job. It lives until the job has ended, and owns the values to drop then.
pub(super) struct BlockingWork {
    _permits: KeptPermits,
    /// Dropped after the permits: what waits for the work finds the permits released.
    counts: Mutex<Vec<Box<dyn Any + Send>>>,
}

// === impl CancelFlag ===

impl CancelFlag {
    pub(super) const fn new(token: CancellationToken) -> Self {
        Self(token)
    }

    /// Returns true once the call is cancelled or over: its result is not used any more.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}

impl fmt::Debug for CancelFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelFlag")
            .field("cancelled", &self.is_cancelled())
            .finish()
    }
}

// === impl BlockingWork ===

impl BlockingWork {
    pub(super) fn new(permits: KeptPermits) -> Self {
        Self {
            _permits: permits,
            counts: Mutex::default(),
        }
    }

    /// Keeps a count until the work has ended and the permits are released.
    pub(super) fn keep_count(&self, count: impl Any + Send) {
        lock(&self.counts).push(Box::new(count));
    }
}

impl fmt::Debug for BlockingWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingWork").finish_non_exhaustive()
    }
}

/// Adds a job unless it is listed, and removes those that have ended. Returns their count.
pub(super) fn add(list: &mut Vec<Weak<BlockingWork>>, work: Weak<BlockingWork>) -> usize {
    list.retain(|other| other.strong_count() > 0 && !other.ptr_eq(&work));
    list.push(work);
    list.len()
}
