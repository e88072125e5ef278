use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::Event;
use crate::seam::Part;

/// Receives events.
///
/// It is called in the call itself, between two of its steps, never under a lock of toolbooth. So
/// it must return soon and never block: what takes time belongs behind a bounded channel. A panic
/// is traced, and does not touch the call.
///
/// A closure that takes `&Event` is a sink:
///
/// ```
/// use toolbooth_core::{Event, EventSink};
///
/// fn is_sink(_: &impl EventSink) {}
/// is_sink(&|event: &Event| println!("{event}"));
/// ```
pub trait EventSink: Send + Sync + 'static {
    /// Handles an event.
    fn on_event(&self, event: &Event);

    /// Returns whether the sink uses contents: arguments, items, responses. An events layer
    /// delivers them only then. False by default.
    fn wants_contents(&self) -> bool {
        false
    }

    /// Returns what clones of the sink have in common, such as the address of their shared state.
    /// `None` by default.
    ///
    /// Several events layers around one call may have clones of a sink. An event inside of them is
    /// delivered to one of the clones.
    fn identity(&self) -> Option<usize> {
        None
    }

    /// Returns a sink for one pass of a call through an events layer. It receives the events of
    /// that pass in place of this sink, so it can own state of the call.
    ///
    /// Called by the events layer first, before the event that invokes the call. `None` by
    /// default: this sink receives the events of all calls.
    fn for_call(&self, part: &Part) -> Option<Arc<dyn EventSink>> {
        let _ = part;
        None
    }

    /// Returns the span of the call until its terminal event, for a sink that
    /// [`for_call`](Self::for_call) has made. `None` by default.
    ///
    /// The events layer enters the span of its first sink that has one whenever it calls, polls or
    /// drops its inner service or a streaming response.
    fn span(&self) -> Option<tracing::Span> {
        None
    }
}

impl<F: Fn(&Event) + Send + Sync + 'static> EventSink for F {
    fn on_event(&self, event: &Event) {
        self(event);
    }
}

/// Delivers an event to a sink, whose panics end here.
pub(crate) fn deliver(sink: &dyn EventSink, event: &Event) {
    if catch_unwind(AssertUnwindSafe(|| sink.on_event(event))).is_err() {
        tracing::error!(event = event.name(), "an event sink panicked");
    }
}
