//! One connection to a server: from the handshake until it is lost.

mod calls;
#[cfg(all(test, unix))]
mod drops;
mod handler;
#[cfg(all(test, unix))]
mod hostile;
mod lost;
mod tap;

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rmcp::model::{
    ClientRequest, ListToolsRequest, ListToolsResult, PaginatedRequestParams, ProtocolVersion,
    ServerResult,
};
use rmcp::service::{
    ClientInitializeError, ClientLifecycleMode, Peer, PeerRequestOptions, RequestHandle,
    RoleClient, RunningService, ServiceError, serve_client_with_lifecycle,
};
use rmcp::transport::Transport;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use toolbooth_core::{BoxError, Name, start_of};

pub(super) use self::calls::{Calls, InFlight, Registered, Tracked};
use self::handler::Handler;
pub(super) use self::lost::Lost;
pub(super) use self::tap::Tap;
use self::tap::Tapped;
use super::RemoteError;
use super::builder::{Endpoint, Settings};
use super::error::{SharedError, bounded};
use super::http;
use super::server::StderrSlot;
#[cfg(unix)]
use super::stdio;

/// The maximum length of the instructions of a server, in bytes.
const MAX_INSTRUCTIONS: usize = 16 * 1_024;

/// The wait for the exit of a program that has closed its input.
const EXIT: Duration = Duration::from_millis(500);

/// A connection. Dropping the last handle closes it, and ends the program.
pub(crate) struct Connection {
    server: Name,
    peer: Peer<RoleClient>,
    tap: Tap,
    lost: Lost,
    finished: CancellationToken,
    since: Instant,
    is_http: bool,
    runtime: Handle,
    /// Dropping it closes the transport.
    _service: RunningService<RoleClient, Handler>,
}

/// The error of a request.
pub(super) enum ConnectionError {
    /// The request failed, or the connection is lost.
    Call(RemoteError),
    /// The request was not sent. The next one may be.
    Rejected(RemoteError),
    /// The server cannot be reached. The request was not sent.
    Unreachable(RemoteError),
    /// The server has rejected the request, since it does not know the session any more.
    Session(RemoteError),
}

// === impl Connection ===

impl Connection {
    /// Connects. Dropping the future ends the attempt.
    ///
    /// A server that is known to have sessions is initialized at once. One that ignores
    /// `server/discover` would take 10 s otherwise.
    pub(super) async fn open(
        settings: &Settings,
        stderr: &StderrSlot,
        has_sessions: bool,
    ) -> Result<Self, RemoteError> {
        let tap = Tap::default();
        let lost = Lost::default();
        let finished = CancellationToken::new();
        let lifecycle = lifecycle(has_sessions);
        let service = match &settings.endpoint {
            #[cfg(not(unix))]
            Endpoint::Stdio(_) => {
                return Err(RemoteError::Setting {
                    server: settings.name.clone(),
                    message: "a program can be a server on unix only".into(),
                });
            }
            #[cfg(unix)]
            Endpoint::Stdio(program) => {
                let started = stdio::start(program, settings, &tap, &lost, finished.clone());
                let (transport, read) = started?;
                *stderr.lock().unwrap_or_else(PoisonError::into_inner) = Some(read);
                serve(Tapped::new(transport, tap.clone(), lost.clone()), lifecycle).await
            }
            Endpoint::Http(endpoint) => {
                let transport = http::transport(endpoint, settings)?;
                http::watch(settings.name.clone(), &tap, &lost);
                let transport = Tapped::new(transport, tap.clone(), lost.clone());
                serve(transport.finishing(finished.clone()), lifecycle).await
            }
        };
        let service = match service {
            Ok(service) => service,
            // Why the program ended is worth more than what was missing then.
            Err(_) if tap.ended.is_cancelled() && settings.is_program() => {
                return Err(lost.wait().await);
            }
            Err(error) => return Err(handshake_error(&settings.name, error)),
        };
        Ok(Self {
            server: settings.name.clone(),
            peer: service.peer().clone(),
            tap,
            lost,
            finished,
            since: Instant::now(),
            is_http: !settings.is_program(),
            runtime: Handle::current(),
            _service: service,
        })
    }

    pub(super) const fn server(&self) -> &Name {
        &self.server
    }

    pub(super) const fn peer(&self) -> &Peer<RoleClient> {
        &self.peer
    }

    pub(super) const fn lost(&self) -> &Lost {
        &self.lost
    }

    pub(super) const fn tap(&self) -> &Tap {
        &self.tap
    }

    /// Returns when it was set up.
    pub(super) const fn since(&self) -> Instant {
        self.since
    }

    pub(super) const fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Cancelled when the transport is closed and the program has ended.
    pub(super) const fn finished(&self) -> &CancellationToken {
        &self.finished
    }

    /// Returns whether it is over HTTP. Then the server may reject a request since it does not know
    /// the session.
    pub(super) const fn is_http(&self) -> bool {
        self.is_http
    }

    pub(super) fn in_flight(&self) -> usize {
        self.tap.calls.len()
    }

    /// Returns the version of the protocol.
    pub(super) fn protocol(&self) -> Option<String> {
        let info = self.peer.peer_info()?;
        Some(info.protocol_version.to_string())
    }

    pub(super) fn instructions(&self) -> Option<Arc<str>> {
        let info = self.peer.peer_info()?;
        let instructions = info.instructions.as_deref()?;
        Some(start_of(instructions, MAX_INSTRUCTIONS).into())
    }

    /// Returns whether the protocol is of the generation with sessions.
    pub(super) fn has_sessions(&self) -> bool {
        let info = self.peer.peer_info();
        info.is_some_and(|info| info.protocol_version.has_initialize())
    }

    /// Returns whether changes of the list are notified to subscribers alone.
    pub(super) fn subscribes(&self) -> bool {
        self.peer.peer_info().is_some_and(|info| {
            let tools = info.capabilities.tools.as_ref();
            let is_notified = tools.is_some_and(|tools| tools.list_changed == Some(true));
            is_notified && !info.protocol_version.has_initialize()
        })
    }

    /// Removes a call from those in flight when the result is dropped.
    pub(super) fn register(&self, handle: &RequestHandle<RoleClient>) -> Registered {
        let calls = Arc::clone(&self.tap.calls);
        Registered::new(calls, handle.id.clone(), handle.progress_token.clone())
    }

    /// Reads a page of the list of tools, past the cache of rmcp.
    pub(super) async fn page(
        &self,
        cursor: Option<String>,
    ) -> Result<ListToolsResult, RemoteError> {
        let params = PaginatedRequestParams::default();
        let request = match cursor {
            Some(_) => ListToolsRequest::with_param(params.with_cursor(cursor)),
            None => ListToolsRequest::default(),
        };
        let request = ClientRequest::ListToolsRequest(request);
        let options = PeerRequestOptions::no_options();
        let handle = self.peer.send_request_with_option(request, options).await;
        let response = match handle {
            Ok(handle) => handle.await_response().await,
            Err(error) => Err(error),
        };
        match response {
            Ok(ServerResult::ListToolsResult(page)) => Ok(page),
            Ok(_) => Err(RemoteError::Malformed {
                server: self.server.clone(),
                message: "something else than a list of tools".into(),
            }),
            Err(error) => Err(self.error(error).await.into_inner()),
        }
    }

    /// Converts the error of a request. Of a lost connection it is the reason.
    pub(super) async fn error(&self, error: ServiceError) -> ConnectionError {
        let server = self.server.clone();
        ConnectionError::Call(match error {
            ServiceError::McpError(error) => RemoteError::Rpc {
                server,
                code: error.code.0,
                message: bounded(&error.message),
            },
            ServiceError::TransportSend(error) => match self.lost.get() {
                Some(lost) => lost.clone(),
                None if self.is_http => return http::request_error(server, error),
                None => return self.unsent(error.error).await,
            },
            ServiceError::TransportClosed if self.tap.ended.is_cancelled() => {
                self.lost.wait().await
            }
            ServiceError::TransportClosed => RemoteError::Disconnected {
                server,
                message: "the response broke off".into(),
            },
            other => RemoteError::Malformed {
                server,
                message: bounded(&other.to_string()),
            },
        })
    }
}

impl Connection {
    /// Converts the error of a message that was not written to a program.
    async fn unsent(&self, error: BoxError) -> ConnectionError {
        let server = self.server.clone();
        let is_full = error.downcast_ref::<io::Error>();
        if is_full.is_some_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            let source = SharedError::from(error);
            return ConnectionError::Rejected(RemoteError::Unreachable { server, source });
        }
        // Most programs that close their input exit.
        if timeout(EXIT, self.lost.cancelled()).await.is_err() {
            self.lost.set(RemoteError::Disconnected {
                server,
                message: bounded(&format!("its input is closed: {error}")),
            });
        }
        ConnectionError::Call(self.lost.wait().await)
    }
}

// === impl ConnectionError ===

impl ConnectionError {
    pub(super) fn into_inner(self) -> RemoteError {
        match self {
            Self::Call(error)
            | Self::Rejected(error)
            | Self::Unreachable(error)
            | Self::Session(error) => error,
        }
    }
}

/// Returns how the protocol is set up: at its newest version that the server has, or with a session
/// if that is known to be the newest.
fn lifecycle(has_sessions: bool) -> ClientLifecycleMode {
    match has_sessions {
        true => ClientLifecycleMode::Initialize,
        false => ClientLifecycleMode::Auto {
            preferred_versions: vec![ProtocolVersion::V_2026_07_28],
            legacy_version: Some(ProtocolVersion::LATEST_WITH_INITIALIZE),
        },
    }
}

async fn serve<T>(
    transport: T,
    lifecycle: ClientLifecycleMode,
) -> Result<RunningService<RoleClient, Handler>, ClientInitializeError>
where
    T: Transport<RoleClient> + 'static,
{
    serve_client_with_lifecycle(Handler, transport, lifecycle).await
}

fn handshake_error(server: &Name, error: ClientInitializeError) -> RemoteError {
    match error {
        ClientInitializeError::TransportError { error, .. } => {
            http::request_error(server.clone(), error).into_inner()
        }
        ClientInitializeError::LegacyFallbackFailed { fallback, .. } => {
            handshake_error(server, *fallback)
        }
        other => RemoteError::Handshake {
            server: server.clone(),
            message: bounded(&other.to_string()),
        },
    }
}
