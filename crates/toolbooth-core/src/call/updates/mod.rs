//! The updates of a call, for its caller.

mod channel;
mod queue;
#[cfg(test)]
mod tests;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use tokio::task::coop;

pub(super) use self::channel::Sender;
use self::channel::{Channel, channel};
use super::Progress;
use crate::response::Content;

/// The capacity of a stream of updates.
pub(super) const DEFAULT_CAPACITY: usize = 256;

/// What a call publishes while it runs, as a stream: items, snapshots, progress and heartbeats.
///
/// Take it [from the call](crate::ToolCall::updates) before the call is made, or
/// [from its context](crate::CallContext::updates).
///
/// The stream has the updates of all attempts, in the order in which they were published, from any
/// thread. It ends with the call, also if the call is dropped without having been made. The exact
/// moment is in [`CallContext::updates`](crate::CallContext::updates).
///
/// Items of a streaming response are not updates: they go to the consumer of the response.
///
/// # Slow readers
/// The tool never waits for a reader. At most 256 updates are queued, or the number of
/// [`updates_with_capacity`](crate::ToolCall::updates_with_capacity). If there are more, heartbeats
/// and progress reports that newer ones replace are dropped first, uncounted. Then the oldest
/// updates are dropped and counted, and the reader receives [`UpdateKind::Lagged`] in their place.
/// So it cannot miss a gap, as in tokio's `broadcast`.
///
/// # Cancel safety
/// Receiving is cancel safe: an update is returned by a later poll. Dropping the stream drops what
/// is queued, and does not end the call.
///
/// ```
/// use serde_json::json;
/// use toolbooth_core::{ToolCall, UpdateKind};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let call = ToolCall::new("crawl", json!({ "pages": 2 }));
/// let mut updates = call.updates();
///
/// // What the tool does while it runs:
/// let context = call.context();
/// context.emit("page 1");
/// context.progress(1, 2, None);
/// drop(call);
///
/// let item = updates.recv().await.expect("an item was emitted");
/// assert_eq!(item.kind, UpdateKind::Item(std::sync::Arc::new("page 1".into())));
/// let progress = updates.recv().await.expect("progress was reported");
/// assert!(matches!(progress.kind, UpdateKind::Progress(progress) if progress.done() == 1));
/// assert_eq!(updates.recv().await, None);
/// # }
/// ```
#[must_use = "dropping it drops the updates"]
pub struct Updates {
    channel: Arc<Channel>,
}

/// Something that a call published while it ran.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Update {
    /// The number of the attempt that published it, from 1. For [`UpdateKind::Lagged`], that of
    /// the update that follows.
    pub attempt: u32,
    /// What was published.
    pub kind: UpdateKind,
}

/// What was published. Contents are shared with the partial result and with event sinks.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum UpdateKind {
    /// The tool [emitted](crate::CallContext::emit) an item.
    Item(Arc<Content>),
    /// The tool published a [snapshot](crate::CallContext::snapshot) of its whole result.
    Snapshot(Arc<Content>),
    /// The tool reported [progress](crate::CallContext::progress), which is the
    /// [last](crate::CallContext::last_progress) of the call.
    Progress(Progress),
    /// The tool signalled [activity](crate::CallContext::heartbeat), or stored a
    /// [checkpoint](crate::CallContext::checkpoint).
    Heartbeat,
    /// The reader lagged behind, and this number of updates was dropped here.
    Lagged(u64),
}

// === impl Updates ===

impl Updates {
    /// Creates the stream, and what sends to it.
    pub(super) fn new(capacity: usize) -> (Sender, Self) {
        let (sender, channel) = channel(capacity);
        (sender, Self { channel })
    }

    /// Receives the next update. `None` once the call is over and no update is queued.
    ///
    /// # Cancel safety
    /// Cancel safe: no update is lost if the future is dropped.
    pub async fn recv(&mut self) -> Option<Update> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Receives the next update if there is one, without waiting.
    pub fn try_recv(&mut self) -> Option<Update> {
        self.channel.try_recv()
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Update>> {
        // A tool on another thread may publish faster than this task reads.
        let budget = ready!(coop::poll_proceed(cx));
        let polled = self.channel.poll_recv(cx);
        if polled.is_ready() {
            budget.made_progress();
        }
        polled
    }
}

impl Stream for Updates {
    type Item = Update;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Update>> {
        self.poll_recv(cx)
    }
}

impl fmt::Debug for Updates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Updates")
            .field("queued", &self.channel.len())
            .finish_non_exhaustive()
    }
}
