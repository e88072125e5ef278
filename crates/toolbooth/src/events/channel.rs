use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::sync::mpsc;
use toolbooth_core::{Event, EventSink};

/// Creates a bounded channel of events: a sink for a layer, and what receives them.
///
/// At most `capacity` events are queued, at least 1. The sink never waits: an event that finds the
/// channel full is dropped, and [counted](EventReceiver::dropped).
///
/// ```
/// use serde_json::json;
/// use toolbooth::events::{EventsLayer, channel};
/// use toolbooth::{ToolCall, tool_fn};
/// use tower::{ServiceBuilder, ServiceExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (sink, mut events) = channel(1_000);
/// let tool = ServiceBuilder::new()
///     .layer(EventsLayer::new(sink))
///     .service(tool_fn("search", async |_: ()| Ok::<_, std::io::Error>("3 matches")));
/// tool.oneshot(ToolCall::new("search", json!(null)).with_id("call-7")).await?;
///
/// let first = events.recv().await.ok_or("the call was made")?;
/// assert_eq!((first.name(), first.call_id.as_deref()), ("tool.invoked", Some("call-7")));
/// assert_eq!(events.dropped(), 0);
/// # Ok(()) }
/// ```
#[must_use]
pub fn channel(capacity: usize) -> (ChannelSink, EventReceiver) {
    let (sender, receiver) = mpsc::channel(capacity.clamp(1, MAX_CAPACITY));
    let dropped = Arc::default();
    let sink = ChannelSink {
        sender,
        dropped: Arc::clone(&dropped),
        #[cfg(feature = "metrics")]
        counter: ::metrics::Counter::noop(),
    };
    (sink, EventReceiver { receiver, dropped })
}

/// The maximum of tokio's channel.
const MAX_CAPACITY: usize = usize::MAX >> 3;

/// Sends events to an [`EventReceiver`]. Made by [`channel`].
///
/// Clones share the channel and the count.
#[derive(Clone)]
pub struct ChannelSink {
    sender: mpsc::Sender<Event>,
    dropped: Arc<AtomicU64>,
    #[cfg(feature = "metrics")]
    counter: ::metrics::Counter,
}

/// Receives the events of a [`ChannelSink`].
pub struct EventReceiver {
    receiver: mpsc::Receiver<Event>,
    dropped: Arc<AtomicU64>,
}

// === impl ChannelSink ===

#[cfg(feature = "metrics")]
impl ChannelSink {
    pub(super) fn with_dropped_counter(mut self, counter: ::metrics::Counter) -> Self {
        self.counter = counter;
        self
    }
}

impl EventSink for ChannelSink {
    fn on_event(&self, event: &Event) {
        // Without a receiver there is nothing to count.
        if let Err(mpsc::error::TrySendError::Full(_)) = self.sender.try_send(event.clone()) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            #[cfg(feature = "metrics")]
            self.counter.increment(1);
        }
    }

    fn identity(&self) -> Option<usize> {
        Some(Arc::as_ptr(&self.dropped).addr())
    }
}

impl fmt::Debug for ChannelSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelSink")
            .field("capacity", &self.sender.capacity())
            .field("dropped", &self.dropped)
            .finish()
    }
}

// === impl EventReceiver ===

impl EventReceiver {
    /// Receives the next event. `None` once all sinks are dropped and no event is queued.
    ///
    /// # Cancel safety
    /// Cancel safe: no event is lost if the future is dropped.
    pub async fn recv(&mut self) -> Option<Event> {
        self.receiver.recv().await
    }

    /// Receives the next event if there is one, without waiting.
    pub fn try_recv(&mut self) -> Option<Event> {
        self.receiver.try_recv().ok()
    }

    /// Polls for the next event, as [`recv`](Self::recv).
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.receiver.poll_recv(cx)
    }

    /// Returns how many events were dropped because the channel was full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for EventReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventReceiver")
            .field("queued", &self.receiver.len())
            .field("dropped", &self.dropped)
            .finish()
    }
}
