//! The connection of a request in a session to its client.
//!
//! By the protocol of sessions, a client that loses its connection may come back, and resume the
//! stream of its request. So a request is not cancelled when its stream is dropped, but when the
//! client has not resumed it for a while. A response that is ready meanwhile waits for the client.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rmcp::model::ServerJsonRpcMessage;
use rmcp::transport::common::server_side_http::ServerSseMessage;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// The connection of one request. The stream of its response and the request have handles.
#[derive(Debug)]
pub(in crate::server) struct Link {
    /// The number of the request in its session.
    number: u64,
    readers: watch::Sender<Readers>,
    messages: Mutex<Messages>,
    /// How long the request runs on without a stream.
    grace: Duration,
    /// Cancelled when the session is closed.
    closed: CancellationToken,
}

#[derive(Debug, Clone, Copy)]
struct Readers {
    /// The number of streams that read the response.
    streams: usize,
    /// When the last of them was dropped.
    since: Instant,
}

/// The messages to the client.
#[derive(Debug, Default)]
struct Messages {
    /// To the current stream. `None` after the last message.
    stream: Option<mpsc::Sender<ServerSseMessage>>,
    /// The last messages, for a client that resumes.
    recent: VecDeque<(u64, ServerSseMessage)>,
    count: u64,
}

/// The id of a message in a session, from which a client resumes.
///
/// It has another form than the ids of rmcp, which are those of the session's own stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EventId {
    pub(super) request: u64,
    /// Counts from 1. It is 0 in the event that precedes the messages.
    message: u64,
}

/// The maximum number of messages that wait for a stream, or for a client that resumes.
const RECENT: usize = 16;

/// The wait of a client before it resumes.
const RETRY: Duration = Duration::from_secs(3);

// === impl Link ===

impl Link {
    /// Creates a connection without a stream.
    pub(super) fn new(number: u64, grace: Duration, closed: CancellationToken) -> Self {
        let readers = Readers {
            streams: 0,
            since: Instant::now(),
        };
        Self {
            number,
            readers: watch::Sender::new(readers),
            messages: Mutex::default(),
            grace,
            closed,
        }
    }

    /// Sends a message. Waits for the stream to have room. Without a stream, the last messages are
    /// kept for one that resumes.
    ///
    /// If the future is dropped, a stream that resumes has the message, the current one may not.
    pub(in crate::server) async fn send(&self, message: ServerJsonRpcMessage) {
        let (stream, event) = {
            let mut messages = self.messages();
            messages.count += 1;
            let id = EventId {
                request: self.number,
                message: messages.count,
            };
            let event = ServerSseMessage::new(id.to_string(), message);
            if messages.recent.len() == RECENT {
                messages.recent.pop_front();
            }
            messages.recent.push_back((id.message, event.clone()));
            (messages.stream.clone(), event)
        };
        if let Some(stream) = stream {
            // A client that is gone may resume.
            let _ = stream.send(event).await;
        }
    }

    /// Opens a stream of all messages.
    pub(super) fn open(&self) -> mpsc::Receiver<ServerSseMessage> {
        let (stream, receiver) = mpsc::channel(RECENT);
        self.messages().stream = Some(stream);
        receiver
    }

    /// Opens a stream of the messages after this one. It replaces the stream before.
    pub(super) fn resume(&self, after: EventId) -> mpsc::Receiver<ServerSseMessage> {
        let (stream, receiver) = mpsc::channel(RECENT + 1);
        let mut messages = self.messages();
        let missed = messages.recent.iter();
        let missed = missed.filter(|(message, _)| *message > after.message);
        let missed = missed.map(|(_, event)| event.clone());
        // From the first event a client resumes that receives no message.
        for event in std::iter::once(priming(after)).chain(missed) {
            // There is room for all of them.
            let _ = stream.try_send(event);
        }
        messages.stream = Some(stream);
        receiver
    }

    /// Returns the event that precedes the messages of a stream of events.
    pub(super) fn priming(&self) -> ServerSseMessage {
        priming(EventId {
            request: self.number,
            message: 0,
        })
    }

    /// Ends the stream after the messages that are sent.
    pub(super) fn end(&self) {
        self.messages().stream = None;
    }

    pub(super) fn attach(&self) {
        self.readers.send_modify(|readers| readers.streams += 1);
    }

    pub(super) fn detach(&self) {
        self.readers.send_modify(|readers| {
            readers.streams = readers.streams.saturating_sub(1);
            readers.since = Instant::now();
        });
    }

    /// Waits until the client is gone: it closed the session, or has not resumed the stream in
    /// time.
    pub(super) async fn gone(&self) {
        let mut readers = self.readers.subscribe();
        let lost = async {
            loop {
                let now = *readers.borrow_and_update();
                let expires = async {
                    match now.streams {
                        0 => sleep_until(now.since + self.grace).await,
                        _ => std::future::pending().await,
                    }
                };
                tokio::select! {
                    // The sender is in the link, which outlives the wait.
                    _ = readers.changed() => {}
                    () = expires => return,
                }
            }
        };
        tokio::select! {
            () = lost => {}
            () = self.closed.cancelled() => {}
        }
    }

    /// Waits until a stream reads the response.
    pub(super) async fn attached(&self) {
        let mut readers = self.readers.subscribe();
        // The sender is in the link, which outlives the wait.
        let _ = readers.wait_for(|readers| readers.streams > 0).await;
    }

    fn messages(&self) -> MutexGuard<'_, Messages> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn priming(id: EventId) -> ServerSseMessage {
    ServerSseMessage::priming(id.to_string(), RETRY)
}

// === impl EventId ===

/// Distinguishes the ids of this crate from those of rmcp.
const PREFIX: &str = "request-";

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}/{}", self.request, self.message)
    }
}

/// The id is not one of a request.
#[derive(Debug)]
pub(super) struct NotARequest;

impl FromStr for EventId {
    type Err = NotARequest;

    fn from_str(id: &str) -> Result<Self, NotARequest> {
        let id = id.strip_prefix(PREFIX).ok_or(NotARequest)?;
        let (request, message) = id.split_once('/').ok_or(NotARequest)?;
        Ok(Self {
            request: request.parse().or(Err(NotARequest))?,
            message: message.parse().or(Err(NotARequest))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use serde_json::json;

    use super::*;

    fn message(id: u64) -> ServerJsonRpcMessage {
        let message = json!({ "jsonrpc": "2.0", "id": id, "result": {} });
        serde_json::from_value(message).expect("a response")
    }

    fn link() -> Link {
        Link::new(7, Duration::from_secs(15), CancellationToken::new())
    }

    fn ids(stream: &mut mpsc::Receiver<ServerSseMessage>) -> Vec<String> {
        let received = std::iter::from_fn(|| stream.try_recv().ok());
        received.filter_map(|event| event.event_id).collect()
    }

    #[test]
    fn a_message_waits_while_the_stream_has_no_room() {
        let link = link();
        let mut stream = link.open();
        for id in 0..16 {
            assert_eq!(link.send(message(id)).now_or_never(), Some(()));
        }
        let mut send = Box::pin(link.send(message(16)));
        assert_eq!(send.as_mut().now_or_never(), None);
        assert!(stream.try_recv().is_ok());
        assert_eq!(send.now_or_never(), Some(()));
        assert_eq!(ids(&mut stream).len(), 16);
    }

    #[test]
    fn a_stream_that_resumes_has_the_last_16_messages() {
        let link = link();
        drop(link.open());
        for id in 0..20 {
            assert_eq!(link.send(message(id)).now_or_never(), Some(()));
        }
        let resumed = |after: &str| {
            let after = after.parse().ok()?;
            Some(ids(&mut link.resume(after)))
        };
        let ids = |ids: &[u64]| Some(ids.iter().map(|id| format!("request-7/{id}")).collect());
        let recent: Vec<_> = std::iter::once(0).chain(5..=20).collect();
        assert_eq!(resumed("request-7/0"), ids(&recent));
        assert_eq!(resumed("request-7/19"), ids(&[19, 20]));
        assert_eq!(resumed("request-7/20"), ids(&[20]));
        for other in ["3/7", "3", "", "request-7", "request-7/", "request-/1"] {
            assert_eq!(resumed(other), None, "{other}");
        }
    }

    #[test]
    fn the_stream_ends_after_the_last_message() {
        let link = link();
        let mut stream = link.open();
        assert_eq!(link.send(message(1)).now_or_never(), Some(()));
        link.end();
        assert!(stream.try_recv().is_ok());
        assert_eq!(
            stream.try_recv().err(),
            Some(mpsc::error::TryRecvError::Disconnected)
        );
    }
}
