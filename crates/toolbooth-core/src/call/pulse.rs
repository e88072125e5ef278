//! The activity of a call, for its outer timeout layers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::clock::{AtomicMoment, Moment};

/// The time of the last activity inside of a timeout layer, and whether a first item was returned.
///
/// Activity stores the time. The layer reads it when its own timer fires.
#[derive(Debug)]
pub struct Pulse {
    last: AtomicMoment,
    item: AtomicBool,
}

/// A pulse that an attempt beats.
#[derive(Debug, Clone)]
pub(super) struct Listener {
    pub(super) pulse: Arc<Pulse>,
    /// Whether what the attempt publishes is an item of the response that the layer waits for. It
    /// is not for a child call.
    pub(super) items: bool,
}

// === impl Pulse ===

impl Pulse {
    pub(crate) const fn new(start: Moment) -> Self {
        Self {
            last: AtomicMoment::new(start),
            item: AtomicBool::new(false),
        }
    }

    /// Returns the time of the last activity, or the start if there was none.
    #[must_use]
    pub fn last(&self) -> Moment {
        self.last.get().unwrap_or_else(Moment::now)
    }

    /// Returns whether a part of the response has been emitted, published as a snapshot, or
    /// streamed.
    #[must_use]
    pub fn has_item(&self) -> bool {
        self.item.load(Ordering::Acquire)
    }

    /// Records an item of the response, which is activity as well.
    pub fn item(&self, now: Moment) {
        self.last.set(Some(now));
        // Pairs with the Acquire load in `has_item`: what sees the item sees its time.
        self.item.store(true, Ordering::Release);
    }
}

// === impl Listener ===

impl Listener {
    pub(super) fn beat(&self, now: Moment, item: bool) {
        match item && self.items {
            true => self.pulse.item(now),
            false => self.pulse.last.set(Some(now)),
        }
    }
}
