//! Which calls are shown, and in which order.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::record::{CallRecord, Timeline};

/// A call that is shown.
pub(super) struct Row<'a> {
    pub(super) call: &'a CallRecord,
    /// How many of the calls above it that are shown made it.
    pub(super) depth: usize,
}

/// Returns the `max` longest calls: in the order of their start, the calls that a call made below
/// it.
pub(super) fn rows(timeline: &Timeline, max: usize) -> Vec<Row<'_>> {
    let mut by_length: Vec<_> = timeline.calls.iter().enumerate().collect();
    // Stable, so that the first of equal ones stay.
    by_length.sort_by_key(|(_, call)| Reverse(call.duration(timeline.now)));
    by_length.truncate(max);
    by_length.sort_by_key(|(position, _)| *position);
    let shown: Vec<&CallRecord> = by_length.into_iter().map(|(_, call)| call).collect();
    let index: HashMap<u64, usize> = shown.iter().map(|call| call.number).zip(0..).collect();
    let mut children = vec![Vec::new(); shown.len()];
    let mut open = Vec::new();
    for (at, call) in shown.iter().enumerate() {
        // A call comes after the one that makes it, so there are no cycles.
        match call.parent.and_then(|parent| index.get(&parent)) {
            Some(&parent) if parent < at => children[parent].push(at),
            _ => open.push((at, 0)),
        }
    }
    let mut rows = Vec::with_capacity(shown.len());
    open.reverse();
    while let Some((at, depth)) = open.pop() {
        rows.push(Row {
            call: shown[at],
            depth,
        });
        open.extend(children[at].iter().rev().map(|child| (*child, depth + 1)));
    }
    rows
}
