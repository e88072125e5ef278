//! One session: its owner, its streams and its requests.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use rmcp::model::{ClientRequest, JsonRpcRequest, ServerJsonRpcMessage};
use rmcp::service::{Peer, RoleServer};
use rmcp::transport::common::server_side_http::ServerSseMessage;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::SessionOwner;
use super::link::Link;
use super::run::Running;
use crate::server::requests::Requests;

/// What this crate knows of a session, beside the session of rmcp.
#[derive(Debug)]
pub(in crate::server) struct Session {
    pub(super) owner: Option<SessionOwner>,
    pub(super) closed: CancellationToken,
    /// Set when the client has initialized.
    peer: OnceLock<Peer<RoleServer>>,
    pub(super) requests: Requests,
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
    /// The connections of the requests that run, by the number of the request.
    links: HashMap<u64, Arc<Link>>,
    next_number: u64,
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
            peer: OnceLock::new(),
            requests: Requests::default(),
            state: Mutex::new(State {
                streams: 0,
                last_used: Instant::now(),
                links: HashMap::new(),
                next_number: 0,
            }),
            quiet: Notify::new(),
        }
    }

    /// Notes a request.
    pub(super) fn touch(&self) {
        self.state().last_used = Instant::now();
    }

    /// Stores the client, which has initialized.
    pub(in crate::server) fn set_peer(&self, peer: Peer<RoleServer>) {
        // A client that initializes again is the same one.
        let _ = self.peer.set(peer);
    }

    pub(super) fn peer(&self) -> Option<&Peer<RoleServer>> {
        self.peer.get()
    }

    /// Begins a request, which runs for `grace` without a stream.
    ///
    /// # Errors
    /// The response, as of [`Requests::begin`].
    pub(super) fn begin(
        self: &Arc<Self>,
        request: &mut JsonRpcRequest<ClientRequest>,
        grace: Duration,
    ) -> Result<Running, Box<ServerJsonRpcMessage>> {
        let in_flight = self.requests.begin(request)?;
        let mut state = self.state();
        let number = state.next_number;
        state.next_number += 1;
        let link = Arc::new(Link::new(number, grace, self.closed.clone()));
        state.links.insert(number, Arc::clone(&link));
        drop(state);
        Ok(Running {
            session: Arc::clone(self),
            number,
            link,
            in_flight,
        })
    }

    pub(super) fn remove(&self, number: u64) {
        let removed = self.state().links.remove(&number);
        drop(removed);
    }

    /// Returns the connection of the request of this number, unless it has ended.
    pub(super) fn link(&self, number: u64) -> Option<Arc<Link>> {
        let state = self.state();
        state.links.get(&number).cloned()
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
    /// Opens a stream, for a request or for the messages of the session.
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
