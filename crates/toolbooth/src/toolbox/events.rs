//! Delivers the events of the layers that policies build.
//!
//! Invariants:
//! 1. No sink is called while a version is replaced: locks are held then.
//! 2. Events are delivered in order, by one thread at a time. Those that find the queue full are
//!    dropped, and traced.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use toolbooth_core::{Event, EventSink};

use crate::middleware::sync::{Mutex, lock};

/// The sink of the layers that policies build. Clones share the queue.
#[derive(Clone, Default)]
pub(crate) struct StackEvents(Arc<Queue>);

/// Keeps events in the queue. Dropping it delivers them.
#[must_use]
pub(super) struct Hold(Arc<Queue>);

#[derive(Default)]
struct Queue {
    /// The sinks of the toolbox.
    sinks: Vec<Box<dyn EventSink>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    events: VecDeque<Event>,
    holds: usize,
    /// Whether a thread delivers. It continues until no event is left.
    delivering: bool,
}

/// The maximum number of events in the queue, while a sink runs or a version is replaced.
const MAX_QUEUED: usize = 10_000;

// === impl StackEvents ===

impl StackEvents {
    pub(super) fn new(sinks: Vec<Box<dyn EventSink>>) -> Self {
        Self(Arc::new(Queue {
            sinks,
            state: Mutex::default(),
        }))
    }

    /// Keeps the events of all threads in the queue until the hold is dropped.
    pub(super) fn hold(&self) -> Hold {
        lock(&self.0.state).holds += 1;
        Hold(Arc::clone(&self.0))
    }
}

impl EventSink for StackEvents {
    fn on_event(&self, event: &Event) {
        if self.0.sinks.is_empty() {
            return;
        }
        let mut state = lock(&self.0.state);
        let has_room = state.events.len() < MAX_QUEUED;
        if has_room {
            state.events.push_back(event.clone());
        }
        drop(state);
        match has_room {
            true => self.0.deliver(),
            false => tracing::warn!(event = event.name(), "a sink blocks: an event is dropped"),
        }
    }
}

impl fmt::Debug for StackEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sinks = self.0.sinks.len();
        f.debug_tuple("StackEvents").field(&sinks).finish()
    }
}

// === impl Hold ===

impl Drop for Hold {
    fn drop(&mut self) {
        lock(&self.0.state).holds -= 1;
        self.0.deliver();
    }
}

// === impl Queue ===

impl Queue {
    fn deliver(&self) {
        if std::mem::replace(&mut lock(&self.state).delivering, true) {
            return;
        }
        while let Some(event) = self.next() {
            self.sinks.iter().for_each(|sink| event.deliver_to(&**sink));
        }
    }

    fn next(&self) -> Option<Event> {
        let mut state = lock(&self.state);
        let next = match state.holds {
            0 => state.events.pop_front(),
            _ => None,
        };
        state.delivering = next.is_some();
        next
    }
}
