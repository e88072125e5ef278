use std::fmt;
use std::sync::Arc;

use toolbooth_core::{EventSink, LayerName};
use tower_layer::Layer;

use super::Events;
use crate::middleware::layer_name;

/// The sinks of a layer. `None` if there is none.
pub(super) type Sinks = Option<Arc<[Arc<dyn EventSink>]>>;

/// Delivers the events of calls to sinks. See the [module](super).
///
/// Clones share the sinks.
#[derive(Clone)]
pub struct EventsLayer {
    pub(super) sinks: Sinks,
    name: LayerName,
}

// === impl EventsLayer ===

impl EventsLayer {
    /// Creates a layer that delivers events to `sink`.
    #[must_use]
    pub fn new(sink: impl EventSink) -> Self {
        Self::off().with_sink(sink)
    }

    /// Creates a layer that delivers no events.
    #[must_use]
    pub const fn off() -> Self {
        Self {
            sinks: None,
            name: LayerName::new("events"),
        }
    }

    /// Adds a sink. Each event is delivered to the sinks in the order in which they were added.
    #[must_use]
    pub fn with_sink(mut self, sink: impl EventSink) -> Self {
        let sinks = self.sinks.iter().flat_map(|sinks| sinks.iter().cloned());
        let sink: Arc<dyn EventSink> = Arc::new(sink);
        self.sinks = Some(sinks.chain([sink]).collect());
        self
    }
}

layer_name!(EventsLayer, name, "events");

/// As [`off`](Self::off).
impl Default for EventsLayer {
    fn default() -> Self {
        Self::off()
    }
}

impl<S> Layer<S> for EventsLayer {
    type Service = Events<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Events::new(inner, self.sinks.clone())
    }
}

impl fmt::Debug for EventsLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventsLayer")
            .field("name", &self.name)
            .field("sinks", &self.sinks.as_ref().map_or(0, |sinks| sinks.len()))
            .finish()
    }
}
