//! Streamable HTTP.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::common::client_side_sse::ExponentialBackoff;
use rmcp::transport::streamable_http_client::{
    StreamableHttpClientTransportConfig, StreamableHttpError,
};

use rmcp::transport::DynamicTransportError;
use toolbooth_core::Name;

use super::RemoteError;
use super::builder::{HttpEndpoint, Settings};
use super::connection::{ConnectionError, Lost, Tap};
use super::error::{SharedError, bounded};

/// The maximum number of requests whose response has not begun.
const MAX_REQUESTS: usize = 4_096;

/// The maximum time for a connection to the host.
const HOST_TIMEOUT: Duration = Duration::from_secs(10);

/// The maximum time to wait before a retry that a server may name.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3_600);

/// Attempts to resume the stream of a response that broke off, and the wait before the first.
const RESUMES: usize = 3;
const RESUME_AFTER: Duration = Duration::from_millis(200);

/// The headers that the transport sets itself.
const RESERVED: [&str; 6] = [
    "accept",
    "content-type",
    "content-length",
    "last-event-id",
    "mcp-protocol-version",
    "mcp-session-id",
];

pub(super) type HttpTransport = StreamableHttpClientTransport<reqwest::Client>;

/// Makes the transport. Nothing is sent before the handshake.
pub(super) fn transport(
    endpoint: &HttpEndpoint,
    settings: &Settings,
) -> Result<HttpTransport, RemoteError> {
    check(endpoint).map_err(|message| RemoteError::Setting {
        server: settings.name.clone(),
        message: message.into(),
    })?;
    let client = reqwest::Client::builder()
        // The token would follow the redirect.
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(HOST_TIMEOUT.min(settings.connect_timeout))
        .tcp_nodelay(true)
        .build()
        .map_err(|error| RemoteError::Unreachable {
            server: settings.name.clone(),
            source: SharedError::new(error.without_url()),
        })?;
    let mut config = StreamableHttpClientTransportConfig::with_uri(Arc::clone(&endpoint.url))
        .max_concurrent_requests(MAX_REQUESTS)
        // A new session is a new connection, whose list of tools is read.
        .reinit_on_expired_session(false)
        .custom_headers(endpoint.headers.iter().cloned().collect::<HashMap<_, _>>());
    config.channel_buffer_capacity = MAX_REQUESTS;
    let mut resumes = ExponentialBackoff::default();
    resumes.max_times = Some(RESUMES);
    resumes.base_duration = RESUME_AFTER;
    config.retry_config = Arc::new(resumes);
    if let Some(token) = &endpoint.bearer {
        config = config.auth_header(token);
    }
    Ok(HttpTransport::with_client(client, config))
}

/// Checks the URL.
fn check(endpoint: &HttpEndpoint) -> Result<(), String> {
    let Ok(uri) = endpoint.url.parse::<http::Uri>() else {
        return Err("the URL is invalid".to_owned());
    };
    match uri.scheme_str() {
        _ if uri.host().is_none_or(str::is_empty) => Err("the URL has no host".to_owned()),
        Some("http") => Ok(()),
        Some("https") if cfg!(feature = "tls") => Ok(()),
        Some("https") => Err("an https URL needs the feature `tls`".to_owned()),
        _ => Err("the URL is neither http nor https".to_owned()),
    }
}

/// Returns whether the transport sets this header.
pub(super) fn is_reserved(name: &HeaderName) -> bool {
    RESERVED.contains(&name.as_str()) || name.as_str().starts_with("mcp-param-")
}

/// Returns the host of a URL, without user and password.
pub(super) fn host_of(url: &str) -> Option<&str> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    (!host.is_empty()).then_some(host)
}

/// Records the end of the transport as the loss of the connection.
pub(super) fn watch(server: Name, tap: &Tap, lost: &Lost) {
    let (ended, lost) = (tap.ended.clone(), lost.clone());
    tokio::spawn(async move {
        ended.cancelled().await;
        lost.set(RemoteError::Disconnected {
            server,
            message: "the transport ended".into(),
        });
    });
}

/// Converts the error of a request that could not be sent, or was rejected.
pub(super) fn request_error(server: Name, error: DynamicTransportError) -> ConnectionError {
    let error = match error
        .error
        .downcast::<StreamableHttpError<reqwest::Error>>()
    {
        Ok(error) => *error,
        Err(error) => {
            let source = SharedError::from(error);
            return ConnectionError::Unreachable(RemoteError::Unreachable { server, source });
        }
    };
    let unreachable = |server, source| RemoteError::Unreachable { server, source };
    match error {
        StreamableHttpError::Client(error) => {
            let is_connect = error.is_connect();
            // The URL may have a password.
            let error = unreachable(server, SharedError::new(error.without_url()));
            match is_connect {
                true => ConnectionError::Unreachable(error),
                // The server may have received it.
                false => ConnectionError::Call(error),
            }
        }
        StreamableHttpError::SessionExpired => {
            ConnectionError::Session(RemoteError::Disconnected {
                server,
                message: "it does not know the session any more".into(),
            })
        }
        StreamableHttpError::AuthRequired(_) | StreamableHttpError::InsufficientScope(_) => {
            ConnectionError::Call(RemoteError::Unauthorized { server })
        }
        StreamableHttpError::HttpStatus(error) => {
            let retry_after = error.retry_after.as_deref().and_then(seconds);
            ConnectionError::Call(RemoteError::Status {
                server,
                status: error.status,
                retry_after,
            })
        }
        StreamableHttpError::UnexpectedServerResponse(message) => {
            ConnectionError::Call(RemoteError::Malformed {
                server,
                message: bounded(&format!("an unexpected response: {message}")),
            })
        }
        error @ (StreamableHttpError::Deserialize(_)
        | StreamableHttpError::UnexpectedContentType(_)
        | StreamableHttpError::ResponseBodyTooLarge { .. }) => {
            ConnectionError::Call(RemoteError::Malformed {
                server,
                message: bounded(&format!("an unusable response: {error}")),
            })
        }
        error => ConnectionError::Call(unreachable(server, SharedError::new(error))),
    }
}

/// Returns the value of `Retry-After` in seconds, at most an hour.
fn seconds(retry_after: &str) -> Option<Duration> {
    let seconds: u64 = retry_after.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}
