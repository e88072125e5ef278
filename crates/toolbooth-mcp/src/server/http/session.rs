//! One session: its owner, its streams and its calls.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use rmcp::transport::common::server_side_http::ServerSseMessage;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::SessionOwner;
use super::link::Link;

/// What this crate knows of a session, beside the session of rmcp.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) owner: Option<SessionOwner>,
    pub(super) closed: CancellationToken,
    state: Mutex<State>,
    /// Notified when the last open stream ends.
    quiet: Notify,
}

#[derive(Debug)]
struct State {
    /// The number of open streams.
    streams: usize,
    /// The last request, or the end of the last stream.
    last_used: Instant,
    /// The calls by the number of their stream. Those that ended are removed later.
    calls: HashMap<u64, Weak<Link>>,
    /// The number of calls at which those that ended are removed.
    prune_at: usize,
}

/// A stream of a session, which notes its end.
pub(super) struct SessionStream {
    events: mpsc::Receiver<ServerSseMessage>,
    session: Arc<Session>,
    link: Option<Arc<Link>>,
}

// === impl Session ===

impl Session {
    pub(super) fn new(owner: Option<SessionOwner>, closed: CancellationToken) -> Self {
        Self {
            owner,
            closed,
            state: Mutex::new(State {
                streams: 0,
                last_used: Instant::now(),
                calls: HashMap::new(),
                prune_at: 16,
            }),
            quiet: Notify::new(),
        }
    }

    /// Notes a request.
    pub(super) fn touch(&self) {
        self.state().last_used = Instant::now();
    }

    /// Adds the connection of a call, whose stream has this number.
    pub(super) fn add(&self, stream: u64, link: &Arc<Link>) {
        let mut state = self.state();
        if state.calls.len() >= state.prune_at {
            state.calls.retain(|_, link| link.strong_count() > 0);
            state.prune_at = state.calls.len() * 2 + 16;
        }
        state.calls.insert(stream, Arc::downgrade(link));
    }

    /// Returns the connection of the call whose stream has this number, unless it has ended.
    pub(super) fn link(&self, stream: u64) -> Option<Arc<Link>> {
        self.state().calls.get(&stream)?.upgrade()
    }

    /// Waits until the session has had neither a stream nor a request for this long.
    pub(super) async fn idle(&self, limit: Duration) {
        loop {
            let (streams, last_used) = {
                let state = self.state();
                (state.streams, state.last_used)
            };
            let until = last_used + limit;
            if streams > 0 {
                self.quiet.notified().await;
            } else if until <= Instant::now() {
                return;
            } else {
                sleep_until(until).await;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl SessionStream ===

impl SessionStream {
    /// Opens a stream, for a call or for the messages of the session.
    pub(super) fn new(
        events: mpsc::Receiver<ServerSseMessage>,
        session: Arc<Session>,
        link: Option<Arc<Link>>,
    ) -> Self {
        session.state().streams += 1;
        if let Some(link) = &link {
            link.attach();
        }
        Self {
            events,
            session,
            link,
        }
    }
}

impl Stream for SessionStream {
    type Item = ServerSseMessage;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ServerSseMessage>> {
        self.events.poll_recv(cx)
    }
}

impl Drop for SessionStream {
    fn drop(&mut self) {
        if let Some(link) = &self.link {
            link.detach();
        }
        let mut state = self.session.state();
        state.streams = state.streams.saturating_sub(1);
        state.last_used = Instant::now();
        if state.streams == 0 {
            self.session.quiet.notify_one();
        }
    }
}
