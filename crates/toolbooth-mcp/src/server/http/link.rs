//! The connection of a call in a session to its client.
//!
//! By the protocol of sessions, a client that loses its connection may come back, and resume the
//! stream of its call. So a call is not cancelled when its stream is dropped, but when the client
//! has not resumed it for a while. A result that is ready meanwhile waits for the client.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// The connection of one call. The stream of its response and the call have handles.
#[derive(Debug)]
pub(in crate::server) struct Link {
    readers: watch::Sender<Readers>,
    /// How long the call runs on without a stream.
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

// === impl Link ===

impl Link {
    /// Creates a connection without a stream.
    pub(super) fn new(grace: Duration, closed: CancellationToken) -> Self {
        let readers = Readers {
            streams: 0,
            since: Instant::now(),
        };
        Self {
            readers: watch::Sender::new(readers),
            grace,
            closed,
        }
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
    pub(in crate::server) async fn gone(&self) {
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
    pub(in crate::server) async fn attached(&self) {
        let mut readers = self.readers.subscribe();
        // The sender is in the link, which outlives the wait.
        let _ = readers.wait_for(|readers| readers.streams > 0).await;
    }
}
