//! Which slice is on which track.
//!
//! Viewers need the slices of a track nested or apart. Slices are placed in the order of their
//! start, the longer one first, so a track only needs the stack of its slices that are open.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

use crate::record::PhaseKind;

/// The slices of a process, on its lanes.
#[derive(Default)]
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    /// The lanes that are not reserved, by their position.
    free: BTreeSet<usize>,
    /// The other lanes, by the end of their reservation.
    busy: BinaryHeap<Reverse<(u64, usize)>>,
    /// The lane of each call.
    of_call: HashMap<u64, usize>,
}

#[derive(Default)]
struct Lane {
    /// The open slices, the outermost first.
    open: Vec<Slice>,
    /// The end of the reservation, and of every slice.
    until: u64,
}

/// A slice to place.
#[derive(Clone, Copy)]
pub(super) struct Slice {
    pub(super) start: u64,
    pub(super) end: u64,
    /// The number of its call.
    pub(super) call: u64,
    /// The call that made its call.
    pub(super) parent: Option<u64>,
    /// When the call and all its phases have ended.
    pub(super) last: u64,
    pub(super) kind: SliceKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SliceKind {
    Call,
    Phase(PhaseKind),
}

// === impl Lanes ===

impl Lanes {
    /// Returns the lane of a slice: that of its call or of the call that made it, if it fits there.
    pub(super) fn place(&mut self, slice: Slice) -> usize {
        let near = self.near(&slice);
        let lane = match near.filter(|near| self.lanes[*near].fits(&slice)) {
            Some(lane) => lane,
            None => self.reserve(&slice),
        };
        if slice.kind == SliceKind::Call {
            self.of_call.insert(slice.call, lane);
        }
        self.lanes[lane].open.push(slice);
        lane
    }

    /// Returns the lane of a call; `None` before its slice is placed.
    pub(super) fn of_call(&self, call: u64) -> Option<usize> {
        self.of_call.get(&call).copied()
    }

    fn near(&self, slice: &Slice) -> Option<usize> {
        match slice.kind {
            SliceKind::Call => self.of_call(slice.parent?),
            SliceKind::Phase(_) => self.of_call(slice.call),
        }
    }

    /// Reserves the first lane that is free, or a new one.
    fn reserve(&mut self, slice: &Slice) -> usize {
        while let Some(Reverse((until, lane))) = self.busy.peek().copied() {
            if until > slice.start {
                break;
            }
            self.busy.pop();
            self.free.insert(lane);
        }
        let lane = self.free.pop_first().unwrap_or_else(|| {
            self.lanes.push(Lane::default());
            self.lanes.len() - 1
        });
        let until = match slice.kind {
            SliceKind::Call => slice.last.max(slice.end),
            SliceKind::Phase(_) => slice.end,
        };
        self.lanes[lane] = Lane {
            open: Vec::new(),
            until,
        };
        self.busy.push(Reverse((until, lane)));
        lane
    }
}

// === impl Lane ===

impl Lane {
    /// Returns whether the slice may be the next one on this lane.
    fn fits(&mut self, slice: &Slice) -> bool {
        while self.open.last().is_some_and(|open| open.end <= slice.start) {
            self.open.pop();
        }
        let is_cleanup = slice.kind == SliceKind::Phase(PhaseKind::Cleanup);
        let Some(open) = self.open.last() else {
            // After its call, in the time that is reserved for it.
            return is_cleanup && slice.end <= self.until;
        };
        let is_inside = match slice.kind {
            SliceKind::Call => slice.parent == Some(open.call),
            SliceKind::Phase(PhaseKind::Idle) => slice.call == open.call,
            // Not inside of another phase: those of parallel attempts are on lanes of their own.
            SliceKind::Phase(_) if slice.call == open.call => open.kind == SliceKind::Call,
            SliceKind::Phase(_) => is_cleanup && slice.parent == Some(open.call),
        };
        is_inside && slice.end <= open.end
    }
}
