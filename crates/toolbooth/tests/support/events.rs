//! Records events as lines.

use std::fmt::Write;
use std::sync::{Arc, Mutex};

use tokio::time::Instant;
use toolbooth::{Event, EventKind, EventSink, EventsLayer, LimitChange};

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

    fn identity(&self) -> Option<usize> {
        Some(Arc::as_ptr(&self.lines) as usize)
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
        EventKind::Retry {
            attempt,
            after,
            error,
            layer,
            error_type,
            ..
        } => {
            let error_type = error_type.as_deref().unwrap_or("no type");
            assert!(error.is_none_or(|error| error.as_str() == error_type));
            let source = match (error, layer) {
                (None, _) => "response ".to_owned(),
                (Some(_), Some(layer)) => format!("{layer} "),
                (Some(_), None) => String::new(),
            };
            format!(
                " #{attempt} after {} {source}{error_type}",
                after.as_millis()
            )
        }
        EventKind::CleanupStarted { hooks } | EventKind::CleanupAbandoned { hooks } => {
            format!(" {hooks}")
        }
        EventKind::CleanupFinished { took } => format!(" {}", took.as_millis()),
        EventKind::CleanupFailed { took, panicked } => {
            format!(" {} panicked={panicked}", took.as_millis())
        }
        EventKind::BreakerChanged {
            layer,
            key,
            from,
            to,
            why,
            ..
        } => format!(" {layer} {} {from} {to} {why}", or_dash(key.as_deref())),
        EventKind::LimitChanged { layer, change } => format!(" {layer} {}", change_text(change)),
        _ => String::new(),
    }
}

fn change_text(change: &LimitChange) -> String {
    match change {
        LimitChange::Set { key, limit } => {
            let [key, limit] = [key, limit].map(|text| or_dash(text.as_deref()));
            format!("{key} = {limit}")
        }
        LimitChange::Queue { setting, value } => {
            format!("{setting} = {}", or_dash(value.as_deref()))
        }
        LimitChange::Overflow { keys } => format!("more than {keys} keys"),
        other => format!("{other:?}"),
    }
}

fn or_dash(text: Option<&str>) -> &str {
    text.unwrap_or("-")
}
