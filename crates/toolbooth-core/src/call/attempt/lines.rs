//! The lines of which an attempt holds a permit: looked at by the calls that it makes.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::Attempt;
use crate::sync::lock;

/// Lines, named by their addresses: each is alive for as long as a permit of it is held. Written by the layer that stands at its
/// depth alone, so that a store is enough.
#[derive(Debug)]
pub(super) struct Lines {
    lines: [AtomicUsize; 2],
    depths: [AtomicU32; 2],
}

/// No line has this address.
const FREE: usize = 0;

// === impl Lines ===

impl Lines {
    pub(super) const fn free() -> Self {
        Self {
            lines: [const { AtomicUsize::new(FREE) }; 2],
            depths: [const { AtomicU32::new(0) }; 2],
        }
    }

    pub(super) fn reset(&self) {
        for (line, depth) in self.iter() {
            line.store(FREE, Ordering::Relaxed);
            depth.store(0, Ordering::Relaxed);
        }
    }

    fn iter(&self) -> impl Iterator<Item = (&AtomicUsize, &AtomicU32)> {
        self.lines.iter().zip(&self.depths)
    }
}

// === impl Attempt ===

impl Attempt {
    /// Takes note of a permit that the layer at `depth` holds.
    #[inline]
    pub(crate) fn hold(&self, line: usize, depth: u32) {
        let is_free = |held: &AtomicUsize| held.load(Ordering::Relaxed) == FREE;
        match self.lines.iter().find(|(held, _)| is_free(held)) {
            Some((free, at)) => {
                at.store(depth, Ordering::Relaxed);
                free.store(line, Ordering::Release);
            }
            None => lock(&self.rare().lines).push((line, depth)),
        }
    }

    /// The layer at `depth` holds it no more.
    #[inline]
    pub(crate) fn release(&self, line: usize, depth: u32) {
        for (held, at) in self.lines.iter() {
            if held.load(Ordering::Relaxed) == line && at.load(Ordering::Relaxed) == depth {
                return held.store(FREE, Ordering::Release);
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
        let inline = self.lines.iter().any(|(held, at)| {
            held.load(Ordering::Acquire) == line && at.load(Ordering::Relaxed) < depth
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
