//! Records events as lines.

use std::fmt::Write;
use std::sync::{Arc, Mutex};

use tokio::time::Instant;
use toolbooth::{Event, EventKind, EventSink, EventsLayer};

/// Records each event as a line: its milliseconds, the id of its call, its name, its details.
///
/// Clones share the lines.
#[derive(Clone)]
pub(crate) struct EventLines {
    start: Instant,
    lines: Arc<Mutex<Vec<String>>>,
}

// === impl EventLines ===

impl EventLines {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            lines: Arc::default(),
        }
    }

    /// Returns a layer that records the events of its calls.
    pub(crate) fn layer(&self) -> EventsLayer {
        EventsLayer::new(self.clone())
    }

    /// Removes the recorded lines and returns them.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines.lock().expect("no test panicked here"))
    }

    /// As [`take`](Self::take), the lines with this word alone.
    pub(crate) fn take_with(&self, word: &str) -> Vec<String> {
        let mut lines = self.take();
        lines.retain(|line| line.split(' ').any(|part| part == word));
        lines
    }
}

impl EventSink for EventLines {
    fn on_event(&self, event: &Event) {
        let at = event.at.duration_since(self.start).as_millis();
        let mut line = format!("{at}");
        if let Some(call) = &event.call_id {
            let _ = write!(line, " {call}");
        }
        let _ = write!(line, " {}{}", event.name(), details(&event.kind));
        self.lines.lock().expect("no test panicked").push(line);
    }
}

/// What the tests of layers compare.
fn details(kind: &EventKind) -> String {
    match kind {
        EventKind::Queued { layer } => format!(" {layer}"),
        EventKind::Admitted { layer, waited } => format!(" {layer} {}", waited.as_millis()),
        EventKind::TimedOut { started, .. } | EventKind::Cancelled { started, .. } => {
            format!(" started={started}")
        }
        EventKind::Rejected { why, .. } => format!(" {}", why.as_str()),
        _ => String::new(),
    }
}
