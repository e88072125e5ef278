use std::fmt;
use std::sync::Arc;

use toolbooth_core::{Event, EventKind, EventSink};

/// The sinks of a layer for events that belong to no call, such as a change of a limit.
#[derive(Clone, Default)]
pub(crate) struct LayerEvents(Option<Arc<Sinks>>);

type Sinks = Vec<Arc<dyn EventSink>>;

// === impl LayerEvents ===

impl LayerEvents {
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    /// Adds a sink. Clones made before do not have it.
    pub(crate) fn add(&mut self, sink: impl EventSink) {
        let sinks = self.0.get_or_insert_default();
        Arc::make_mut(sinks).push(Arc::new(sink));
    }

    /// Delivers an event. Without a sink, `kind` is not called. No lock may be held.
    #[inline]
    pub(crate) fn report(&self, kind: impl FnOnce() -> EventKind) {
        if let Some(sinks) = &self.0 {
            deliver(sinks, kind());
        }
    }
}

#[cold]
fn deliver(sinks: &Sinks, kind: EventKind) {
    let event = Event::of_layer(kind);
    sinks.iter().for_each(|sink| event.deliver_to(&**sink));
}

impl fmt::Debug for LayerEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sinks = self.0.as_ref().map_or(0, |sinks| sinks.len());
        f.debug_tuple("LayerEvents").field(&sinks).finish()
    }
}
