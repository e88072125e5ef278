//! The sessions of clients before 2026-07-28: those of rmcp, with bounds, owners, and requests that
//! end with their client.
//!
//! A session of rmcp has a task for its messages. Here it handles what begins the session, the
//! notifications, and the stream of the session itself. Each request has a task of its own.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures_core::Stream;
use futures_util::{StreamExt as _, stream};
use rmcp::model::{ClientJsonRpcMessage, GetExtensions as _, JsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::WorkerTransport;
use rmcp::transport::common::server_side_http::{ServerSseMessage, SessionId};
use rmcp::transport::streamable_http_server::SessionManager;
use rmcp::transport::streamable_http_server::session::local::{
    EventIdParseError, LocalSessionHandle, LocalSessionManager, LocalSessionManagerError,
    LocalSessionWorker, SessionConfig, SessionError,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::link::EventId;
use super::session::{Session, SessionStream};
use super::{HttpOptions, SessionOwner};
use crate::server::McpServer;

/// The sessions of a server.
#[derive(Debug)]
pub(super) struct Sessions {
    server: McpServer,
    inner: LocalSessionManager,
    open: Mutex<HashMap<SessionId, Open>>,
    permits: Arc<Semaphore>,
    keep_alive: Duration,
    idle_limit: Duration,
}

#[derive(Debug)]
struct Open {
    session: Arc<Session>,
    /// Counts the session.
    _permit: OwnedSemaphorePermit,
}

/// What the sessions read of a request, and report about it.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) owner: Option<SessionOwner>,
    /// Whether there was no room for a session.
    pub(super) is_rejected: AtomicBool,
    /// The response, if it is the only message: it needs no stream.
    pub(super) response: OnceLock<Arc<ServerJsonRpcMessage>>,
}

/// The time after which a response is a stream of events, also without a message: from its first
/// event a client can resume it.
const HEAD_DELAY: Duration = Duration::from_secs(1);

tokio::task_local! {
    /// The request that the task handles.
    pub(super) static REQUEST: Arc<Request>;
}

/// The error of an operation on a session.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionsError {
    #[error("there are too many sessions")]
    Full,
    #[error("there is no such session")]
    Unknown,
    #[error("the session is not initialized")]
    NotInitialized,
    #[error("the message is not a request")]
    NotARequest,
    #[error("the request has ended")]
    Ended,
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Manager(#[from] LocalSessionManagerError),
    #[error(transparent)]
    EventId(#[from] EventIdParseError),
}

// === impl Sessions ===

impl Sessions {
    pub(super) fn new(server: McpServer, options: &HttpOptions) -> Self {
        let mut inner = LocalSessionManager::default();
        inner.session_config = SessionConfig::default();
        // It would count a session with a silent call as idle.
        inner.session_config.keep_alive = None;
        Self {
            server,
            inner,
            open: Mutex::default(),
            permits: Arc::new(Semaphore::new(
                options.max_sessions.min(Semaphore::MAX_PERMITS),
            )),
            keep_alive: options.keep_alive,
            idle_limit: options.session_idle_limit,
        }
    }

    /// Returns whether a request of this owner may use the session, or there is none of this id.
    pub(super) fn admits(&self, id: &str, owner: Option<&SessionOwner>) -> bool {
        let open = self.open();
        open.get(id)
            .is_none_or(|open| open.session.owner.as_ref() == owner)
    }

    /// Returns whether there is a session of this id.
    pub(super) fn is_open(&self, id: &str) -> bool {
        self.open().contains_key(id)
    }

    fn open(&self) -> MutexGuard<'_, HashMap<SessionId, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a session that a request uses.
    fn used(&self, id: &SessionId) -> Result<Arc<Session>, SessionsError> {
        let open = self.open();
        let session = &open.get(id).ok_or(SessionsError::Unknown)?.session;
        session.touch();
        Ok(Arc::clone(session))
    }

    async fn handle(&self, id: &SessionId) -> Result<LocalSessionHandle, SessionsError> {
        let sessions = self.inner.sessions.read().await;
        sessions.get(id).cloned().ok_or(SessionsError::Unknown)
    }
}

impl SessionManager for Sessions {
    type Error = SessionsError;
    type Transport = WorkerTransport<LocalSessionWorker>;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), SessionsError> {
        let request = REQUEST.try_with(Arc::clone).unwrap_or_default();
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            request.is_rejected.store(true, Ordering::Relaxed);
            return Err(SessionsError::Full);
        };
        let (id, transport) = self.inner.create_session().await?;
        let closed = CancellationToken::new();
        let session = Session::new(request.owner.clone(), closed.clone());
        let session = Arc::new(session);
        let open = Open {
            session: Arc::clone(&session),
            _permit: permit,
        };
        self.open().insert(id.clone(), open);
        let handle = self.handle(&id).await?;
        let idle_limit = self.idle_limit;
        tokio::spawn(async move {
            tokio::select! {
                () = closed.cancelled() => {}
                // The worker of the session ends, and with it the session.
                () = session.idle(idle_limit) => drop(handle.close().await),
            }
        });
        Ok((id, transport))
    }

    async fn initialize_session(
        &self,
        id: &SessionId,
        mut message: ClientJsonRpcMessage,
    ) -> Result<ServerJsonRpcMessage, SessionsError> {
        if let ClientJsonRpcMessage::Request(request) = &mut message {
            let session = self.used(id)?;
            request.request.extensions_mut().insert(session);
        }
        Ok(self.inner.initialize_session(id, message).await?)
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool, SessionsError> {
        Ok(self.open().contains_key(id))
    }

    async fn close_session(&self, id: &SessionId) -> Result<(), SessionsError> {
        let open = self.open().remove(id);
        if let Some(open) = open {
            open.session.closed.cancel();
        }
        Ok(self.inner.close_session(id).await?)
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + 'static, SessionsError> {
        let session = self.used(id)?;
        let ClientJsonRpcMessage::Request(mut request) = message else {
            return Err(SessionsError::NotARequest);
        };
        let peer = session.peer().ok_or(SessionsError::NotInitialized)?.clone();
        let running = match session.begin(&mut request, self.keep_alive) {
            Ok(running) => running,
            Err(rejection) => {
                respond(Arc::new(*rejection));
                let (_, nothing) = mpsc::channel(1);
                let events = SessionStream::new(nothing, session, None);
                return Ok(stream::iter(Vec::new()).chain(events));
            }
        };
        let link = Arc::clone(&running.link);
        // Before the request runs, which ends without a stream.
        let mut events = SessionStream::new(link.open(), session, Some(Arc::clone(&link)));
        tokio::spawn(running.run(self.server.clone(), peer, request));
        let head = match timeout(HEAD_DELAY, events.next()).await {
            Ok(Some(first)) => match first.message {
                Some(message) if is_response(&message) => {
                    respond(message);
                    Vec::new()
                }
                _ => vec![link.priming(), first],
            },
            // The request was cancelled.
            Ok(None) => Vec::new(),
            Err(_) => vec![link.priming()],
        };
        Ok(stream::iter(head).chain(events))
    }

    async fn accept_message(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<(), SessionsError> {
        let session = self.used(id)?;
        session.requests.cancel(&message);
        Ok(self.inner.accept_message(id, message).await?)
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + 'static, SessionsError> {
        let session = self.used(id)?;
        let receiver = self.handle(id).await?.establish_common_channel().await?;
        Ok(SessionStream::new(receiver.inner, session, None))
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + 'static, SessionsError> {
        let session = self.used(id)?;
        if let Ok(last) = last_event_id.parse::<EventId>() {
            let link = session.link(last.request).ok_or(SessionsError::Ended)?;
            let events = link.resume(last);
            return Ok(SessionStream::new(events, session, Some(link)));
        }
        let handle = self.handle(id).await?;
        let receiver = handle.resume(last_event_id.parse()?).await?;
        Ok(SessionStream::new(receiver.inner, session, None))
    }
}

/// Sets the response to the request that the task handles. The service reads it.
fn respond(message: Arc<ServerJsonRpcMessage>) {
    // It is set once for each request.
    let _ = REQUEST.try_with(|request| request.response.set(message));
}

fn is_response(message: &ServerJsonRpcMessage) -> bool {
    matches!(
        message,
        JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_)
    )
}
