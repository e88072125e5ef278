//! What happens to a call, as a stream of events.

mod kind;
mod line;
mod sink;

use std::fmt;

use tokio::time::Instant;

pub use self::kind::{EventKind, LimitChange};
pub use self::sink::EventSink;
pub(crate) use self::sink::deliver;
use crate::call::Name;

/// Something that happened to a call, or to a layer.
///
/// An events layer delivers the events of its calls to its [sinks](EventSink). A layer delivers
/// those that belong to no call, such as a change of a limit.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Event {
    /// The id of the call, or `None` for an event that belongs to no call.
    pub call_id: Option<Name>,
    /// The number of the call, unique in this process: calls of clients may have the same id. 0
    /// for an event that belongs to no call.
    pub serial: u64,
    /// The name of the tool, or `None` for an event that belongs to no call.
    pub tool: Option<Name>,
    /// The number of the attempt, from 1. 0 for an event that belongs to no call.
    ///
    /// The first and the terminal event of an events layer outside of a retry have the number of
    /// the attempt that entered it, 1, whichever attempt decided the call.
    pub attempt: u32,
    /// When it happened.
    pub at: Instant,
    /// What happened.
    pub kind: EventKind,
}

// === impl Event ===

impl Event {
    /// Creates an event that belongs to no call, now. For authors of layers.
    #[must_use]
    pub fn of_layer(kind: EventKind) -> Self {
        Self {
            call_id: None,
            serial: 0,
            tool: None,
            attempt: 0,
            at: Instant::now(),
            kind,
        }
    }

    /// Delivers the event to a sink. A panic of the sink is traced, and ends here.
    ///
    /// For authors of layers. Call it without a lock: the sink may use the layer.
    pub fn deliver_to(&self, sink: &dyn EventSink) {
        deliver(sink, self);
    }

    /// Returns the stable name of the event: see [`EventKind::name`].
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.kind.name()
    }
}

/// The event as a line for a log: its name, tool, call and attempt, and the fields of its kind,
/// such as `tool.admitted search c1 #1 layer=database waited=816ms`.
///
/// It has no time, no contents and no text of an error. Each text has at most 64 characters, with
/// `?` for control characters, and is in quotes if it has spaces.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        if let (Some(tool), Some(call)) = (&self.tool, &self.call_id) {
            f.write_str(" ")?;
            line::word(f, tool)?;
            f.write_str(" ")?;
            line::word(f, call)?;
            write!(f, " #{}", self.attempt)?;
        }
        line::fields(f, &self.kind)
    }
}
