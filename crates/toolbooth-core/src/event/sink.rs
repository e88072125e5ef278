use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Event;

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
