//! The lines of which an attempt holds a permit: looked at by the calls that it makes.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::Attempt;
use crate::sync::lock;

/// One line, named by its address: it is alive for as long as a permit of it is held. Written by the layer that stands at its
/// depth alone, so that a store is enough.
#[derive(Debug)]
pub(super) struct Slot {
    line: AtomicUsize,
    depth: AtomicU32,
}

/// No line has this address.
const FREE: usize = 0;

// === impl Slot ===

impl Slot {
    pub(super) const fn free() -> Self {
        Self {
            line: AtomicUsize::new(FREE),
            depth: AtomicU32::new(0),
        }
    }

    pub(super) fn reset(&self) {
        self.line.store(FREE, Ordering::Relaxed);
        self.depth.store(0, Ordering::Relaxed);
    }
}

// === impl Attempt ===

impl Attempt {
    /// Takes note of a permit that the layer at `depth` holds.
    #[inline]
    pub(crate) fn hold(&self, line: usize, depth: u32) {
        let free = self
            .lines
            .iter()
            .find(|slot| slot.line.load(Ordering::Relaxed) == FREE);
        match free {
            Some(slot) => {
                slot.depth.store(depth, Ordering::Relaxed);
                slot.line.store(line, Ordering::Release);
            }
            None => lock(&self.rare().lines).push((line, depth)),
        }
    }

    /// The layer at `depth` holds it no more.
    #[inline]
    pub(crate) fn release(&self, line: usize, depth: u32) {
        for slot in &self.lines {
            if slot.line.load(Ordering::Relaxed) == line
                && slot.depth.load(Ordering::Relaxed) == depth
            {
                return slot.line.store(FREE, Ordering::Release);
            }
        }
        if let Some(rare) = self.rare.get() {
            lock(&rare.lines).retain(|held| *held != (line, depth));
        }
    }

    /// Whether the attempt holds a permit of the line, or stands inside of a layer that holds it.
    pub(in crate::call) fn holds(&self, line: usize) -> bool {
        self.holds_outside(line, u32::MAX)
    }

    fn holds_outside(&self, line: usize, depth: u32) -> bool {
        let inline = self.lines.iter().any(|slot| {
            slot.line.load(Ordering::Acquire) == line && slot.depth.load(Ordering::Relaxed) < depth
        });
        let more = || {
            let rare = self.rare.get()?;
            let lines = lock(&rare.lines);
            Some(lines.iter().any(|held| held.0 == line && held.1 < depth))
        };
        inline
            || more().unwrap_or(false)
            || self
                .parent()
                .is_some_and(|link| link.attempt.holds_outside(line, link.depth + 1))
    }
}
