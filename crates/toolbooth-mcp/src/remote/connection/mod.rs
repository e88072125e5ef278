//! One connection to a server: from the handshake until it is lost.

mod calls;
mod handler;
mod lost;
mod tap;

use std::sync::Arc;

use rmcp::model::{
    ClientRequest, ListToolsRequest, PaginatedRequestParams, ProtocolVersion, ServerResult,
};
use rmcp::service::{
    ClientInitializeError, ClientLifecycleMode, Peer, PeerRequestOptions, RequestHandle,
    RoleClient, RunningService, ServiceError, serve_client_with_lifecycle,
};
use rmcp::transport::Transport;
use tokio::runtime::Handle;
use toolbooth_core::Name;

pub(super) use self::calls::{InFlight, Registered, Tracked};
pub(super) use self::handler::Handler;
pub(super) use self::lost::Lost;
pub(super) use self::tap::{Tap, Tapped};
use super::RemoteError;
use super::builder::{Endpoint, Settings};
use super::error::bounded;
use super::{http, stdio};

/// A connection. Dropping the last handle closes it, and ends the program.
pub(super) struct Connection {
    server: Name,
    peer: Peer<RoleClient>,
    tap: Tap,
    lost: Lost,
    runtime: Handle,
    /// Dropping it closes the transport.
    _service: RunningService<RoleClient, Handler>,
}

// === impl Connection ===

impl Connection {
    /// Connects. Dropping the future ends the attempt.
    pub(super) async fn open(settings: &Settings) -> Result<Self, RemoteError> {
        let tap = Tap::default();
        let lost = Lost::default();
        let service = match &settings.endpoint {
            Endpoint::Stdio(program) => {
                let transport = stdio::start(program, settings, &tap, &lost)?;
                serve(Tapped::new(transport, tap.clone()), settings).await
            }
            Endpoint::Http(endpoint) => {
                let transport = http::transport(endpoint, settings, &tap, &lost)?;
                serve(Tapped::new(transport, tap.clone()), settings).await
            }
        };
        let service = match service {
            Ok(service) => service,
            Err(error) => return Err(handshake_error(&settings.name, error)),
        };
        Ok(Self {
            server: settings.name.clone(),
            peer: service.peer().clone(),
            tap,
            lost,
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

    pub(super) const fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Removes a call from those in flight when the result is dropped.
    pub(super) fn register(&self, handle: &RequestHandle<RoleClient>) -> Registered {
        let calls = Arc::clone(&self.tap.calls);
        Registered::new(calls, handle.progress_token.clone())
    }

    /// Reads a page of the list of tools, past the cache of rmcp.
    pub(super) async fn page(
        &self,
        cursor: Option<String>,
    ) -> Result<rmcp::model::ListToolsResult, RemoteError> {
        let params =
            cursor.map(|cursor| PaginatedRequestParams::default().with_cursor(Some(cursor)));
        let request = match params {
            Some(params) => ListToolsRequest::with_param(params),
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
            Err(error) => Err(self.error(error).await),
        }
    }

    /// Converts the error of a request. Of a lost connection it is the reason.
    pub(super) async fn error(&self, error: ServiceError) -> RemoteError {
        let server = self.server.clone();
        match error {
            ServiceError::McpError(error) => RemoteError::Rpc {
                server,
                code: error.code.0,
                message: bounded(&error.message),
            },
            ServiceError::TransportSend(error) => match self.lost.get() {
                Some(lost) => lost.clone(),
                None => http::send_error(server, error),
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
        }
    }
}

async fn serve<T>(
    transport: T,
    _settings: &Settings,
) -> Result<RunningService<RoleClient, Handler>, ClientInitializeError>
where
    T: Transport<RoleClient> + 'static,
{
    let lifecycle = ClientLifecycleMode::Auto {
        preferred_versions: vec![ProtocolVersion::V_2026_07_28],
        legacy_version: Some(ProtocolVersion::LATEST_WITH_INITIALIZE),
    };
    serve_client_with_lifecycle(Handler, transport, lifecycle).await
}

fn handshake_error(server: &Name, error: ClientInitializeError) -> RemoteError {
    let server = server.clone();
    match error {
        ClientInitializeError::TransportError { error, .. } => http::send_error(server, error),
        ClientInitializeError::LegacyFallbackFailed { fallback, .. } => {
            handshake_error(&server, *fallback)
        }
        other => RemoteError::Handshake {
            server,
            message: bounded(&other.to_string()),
            stderr: "".into(),
        },
    }
}
