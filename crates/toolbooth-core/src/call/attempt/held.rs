//! Whether a layer of ours holds a call back: while it waits in a line, and where it was refused, its tool has done nothing.
//!
//! An attempt that is made inside of a layer counts for the attempt with which the call came there, too: so a layer outside of a
//! retry sees whether any attempt got through.

use std::sync::atomic::{AtomicU8, Ordering};

use super::{Attempt, Link};

/// Layers that a call enters one after the other write this, so that it needs no read-modify-write.
#[derive(Debug)]
pub(super) struct Held(AtomicU8);

const FREE: u8 = 0;
const HELD: u8 = 1;
/// Not held, and now another attempt is made: this stays.
const GOT_THROUGH: u8 = 2;

impl Attempt {
    /// A layer holds the call back, or no longer does.
    pub(crate) fn set_held(&self, held: bool) {
        self.held.set(held);
        let mut attempt = self;
        while let Some(link) = attempt.made_inside() {
            attempt = link.attempt;
            attempt.held.set(held);
        }
    }

    /// Whether no attempt further in got past the layers.
    pub(crate) fn is_held(&self) -> bool {
        self.held.0.load(Ordering::Acquire) == HELD
    }

    /// This is another attempt of a call, and enters its first layer.
    pub(super) fn try_again(&self) {
        let mut attempt = self;
        while let Some(link) = attempt.made_inside() {
            attempt = link.attempt;
            let called = attempt.depth.load(Ordering::Acquire) > link.depth;
            match attempt.is_held() {
                true => attempt.held.set(false),
                false if called => attempt.held.0.store(GOT_THROUGH, Ordering::Release),
                false => {}
            }
        }
    }

    /// The attempt of the same call that this one was made from.
    fn made_inside(&self) -> Option<Link<'_>> {
        let link = self.parent()?;
        (link.attempt.serial() == self.serial()).then_some(link)
    }
}

// === impl Held ===

impl Held {
    pub(super) const fn free() -> Self {
        Self(AtomicU8::new(FREE))
    }

    pub(super) fn reset(&self) {
        self.0.store(FREE, Ordering::Relaxed);
    }

    fn set(&self, held: bool) {
        if self.0.load(Ordering::Acquire) != GOT_THROUGH {
            self.0
                .store(if held { HELD } else { FREE }, Ordering::Release);
        }
    }
}
