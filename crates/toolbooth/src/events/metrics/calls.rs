//! The calls that are inside of an events layer: what they have added to the gauges.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use tokio::time::Instant;
use toolbooth_core::Event;

use super::few::Few;
use super::layers::LayerMetrics;
use super::tools::ToolMetrics;
use crate::middleware::sync::{Mutex, lock};

/// The calls by their number. Each has an entry from its first pass of an events layer to the end
/// of its last one, so there are as many as calls in flight.
pub(super) struct Calls {
    shards: [Mutex<HashMap<u64, Call>>; SHARDS],
}

/// The passes of one call and of its attempts, and where they wait.
#[derive(Default)]
struct Call {
    /// Orders passes and waits: what is later and of the same attempt is inside.
    next: u32,
    /// The innermost of each attempt is the last.
    passes: Few<Pass>,
    waits: Few<Wait>,
}

/// One pass of an attempt through an events layer.
pub(super) struct Pass {
    position: u32,
    attempt: u32,
    pub(super) invoked_at: Instant,
    has_started: bool,
    /// The tool in whose gauge the pass counts.
    pub(super) running: Option<Arc<ToolMetrics>>,
}

/// The wait of an attempt in a queue.
pub(super) struct Wait {
    position: u32,
    attempt: u32,
    pub(super) since: Instant,
    pub(super) layer: Arc<LayerMetrics>,
}

/// What a start adds.
#[derive(Default)]
pub(super) struct Starts {
    /// How many passes start.
    pub(super) first: u32,
    /// How many passes run again, or for the first time.
    pub(super) running: u32,
}

/// What ends with a pass or with an attempt.
#[derive(Default)]
pub(super) struct Ends {
    pub(super) pass: Option<Pass>,
    /// The tool of each pass that runs no more.
    pub(super) running: Few<Arc<ToolMetrics>>,
    pub(super) waits: Few<Wait>,
}

const SHARDS: usize = 16;

/// How many numbers in a row have the same shard. Each thread numbers its calls from blocks of this
/// size, so that threads seldom lock the same shard.
const BLOCK: u64 = 1_000;

// === impl Calls ===

impl Calls {
    pub(super) fn new() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }

    fn shard(&self, serial: u64) -> &Mutex<HashMap<u64, Call>> {
        let shard = serial.wrapping_sub(1) / BLOCK % (SHARDS as u64);
        &self.shards[usize::try_from(shard).unwrap_or_default()]
    }

    pub(super) fn enter(&self, event: &Event) {
        let mut shard = lock(self.shard(event.serial));
        let call = shard.entry(event.serial).or_default();
        let position = call.position();
        call.passes.push(Pass {
            position,
            attempt: event.attempt,
            invoked_at: event.at,
            has_started: false,
            running: None,
        });
    }

    /// Records that an attempt waits. False if it passes no events layer.
    pub(super) fn wait(&self, event: &Event, layer: &Arc<LayerMetrics>) -> bool {
        let mut shard = lock(self.shard(event.serial));
        let Some(call) = shard.get_mut(&event.serial) else {
            return false;
        };
        let position = call.position();
        call.waits.push(Wait {
            position,
            attempt: event.attempt,
            since: event.at,
            layer: Arc::clone(layer),
        });
        true
    }

    /// Ends the wait of an attempt in the queue of a layer.
    pub(super) fn admit(&self, event: &Event, layer: &Arc<LayerMetrics>) -> Option<Wait> {
        let mut shard = lock(self.shard(event.serial));
        let call = shard.get_mut(&event.serial)?;
        call.waits
            .remove_last(|wait| wait.attempt == event.attempt && Arc::ptr_eq(&wait.layer, layer))
    }

    /// Starts an attempt: for its own pass, and for those around it, which have lower numbers.
    pub(super) fn start(&self, event: &Event, tool: &Arc<ToolMetrics>) -> Starts {
        let mut starts = Starts::default();
        let mut shard = lock(self.shard(event.serial));
        let call = shard.get_mut(&event.serial);
        let passes = call.into_iter().flat_map(|call| call.passes.iter_mut());
        for pass in passes.filter(|pass| pass.attempt <= event.attempt) {
            if !std::mem::replace(&mut pass.has_started, true) {
                starts.first += 1;
            }
            if pass.running.is_none() {
                pass.running = Some(Arc::clone(tool));
                starts.running += 1;
            }
        }
        starts
    }

    /// Ends the attempts before `next`, inside of an events layer.
    pub(super) fn retry(&self, event: &Event, next: u32) -> Ends {
        let mut ends = Ends::default();
        let mut shard = lock(self.shard(event.serial));
        if let Some(call) = shard.get_mut(&event.serial) {
            for pass in call.passes.iter_mut().filter(|pass| pass.attempt < next) {
                ends.running.extend(pass.running.take());
            }
            ends.waits = call.waits.remove_all(|wait| wait.attempt < next);
        }
        ends
    }

    /// Ends the innermost pass of an attempt, and what waits inside of it.
    pub(super) fn leave(&self, event: &Event) -> Ends {
        let mut shard = lock(self.shard(event.serial));
        let Entry::Occupied(mut entry) = shard.entry(event.serial) else {
            return Ends::default();
        };
        let ends = entry.get_mut().leave(event.attempt);
        if entry.get().passes.is_empty() {
            entry.remove();
        }
        ends
    }
}

// === impl Call ===

impl Call {
    fn position(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn leave(&mut self, attempt: u32) -> Ends {
        let Some(mut pass) = self.passes.remove_last(|pass| pass.attempt == attempt) else {
            return Ends::default();
        };
        let is_last = self.passes.is_empty();
        let waits = self
            .waits
            .remove_all(|wait| is_last || wait.attempt == attempt && wait.position > pass.position);
        let mut running = Few::default();
        running.extend(pass.running.take());
        Ends {
            pass: Some(pass),
            running,
            waits,
        }
    }
}
