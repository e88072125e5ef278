//! The signs of life of a call, as the layers around it hear them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use super::Moment;
use super::clock::AtomicMoment;

/// For timeout layers: the last sign of life from inside of a layer, and whether there was a first item.
///
/// Whoever beats stores the time and nothing else: no lock, no timer, no read-modify-write. Whoever waits looks at
/// it when its own timer fires.
#[derive(Debug)]
pub struct Pulse {
    last: AtomicMoment,
    item: AtomicBool,
}

/// The pulses of all layers that an attempt is inside of, to which one is only ever added.
#[derive(Debug, Default)]
pub(super) struct Pulses(OnceLock<Box<Node>>);

#[derive(Debug)]
struct Node {
    pulse: Arc<Pulse>,
    /// Whether what this attempt publishes is an item of the result that is waited for.
    items: bool,
    next: Pulses,
}

// === impl Pulse ===

impl Pulse {
    pub(crate) fn new(start: Moment) -> Self {
        let last = AtomicMoment::none();
        last.set(Some(start));
        Self {
            last,
            item: AtomicBool::new(false),
        }
    }

    /// The last sign of life; the start, where there was none.
    #[must_use]
    pub fn last(&self) -> Moment {
        self.last.get().unwrap_or_else(Moment::now)
    }

    /// Whether something of the result has come: it was emitted, published as a snapshot, or streamed.
    #[must_use]
    pub fn has_item(&self) -> bool {
        self.item.load(Ordering::Acquire)
    }

    /// An item of the result comes by: a sign of life, too.
    pub fn item(&self, now: Moment) {
        self.last.set(Some(now));
        self.item.store(true, Ordering::Release);
    }
}

// === impl Pulses ===

impl Pulses {
    /// Each with whether it hears items as such.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<Pulse>, bool)> {
        let nodes = std::iter::successors(self.0.get(), |node| node.next.0.get());
        nodes.map(|node| (&node.pulse, node.items))
    }

    pub(super) fn push(&self, pulse: Arc<Pulse>, items: bool) {
        let mut node = Box::new(Node {
            pulse,
            items,
            next: Self::default(),
        });
        let mut end = self;
        loop {
            match end.0.set(node) {
                Ok(()) => return,
                Err(back) => node = back,
            }
            let Some(last) = end.0.get() else { return };
            end = &last.next;
        }
    }

    pub(super) fn beat(&self, now: Moment, item: bool) {
        for (pulse, items) in self.iter() {
            match item && items {
                true => pulse.item(now),
                false => pulse.last.set(Some(now)),
            }
        }
    }
}
