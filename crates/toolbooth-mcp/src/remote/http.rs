//! Streamable HTTP.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::common::client_side_sse::ExponentialBackoff;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;

use rmcp::transport::DynamicTransportError;
use toolbooth_core::Name;

use super::RemoteError;
use super::builder::{HttpEndpoint, Settings};
use super::connection::{Lost, Tap};
use super::error::SharedError;

/// The maximum number of requests whose response has not begun.
const MAX_REQUESTS: usize = 4_096;

/// The maximum time for a connection to the host.
const HOST_TIMEOUT: Duration = Duration::from_secs(10);

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
    tap: &Tap,
    lost: &Lost,
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
        .custom_headers(endpoint.headers.iter().cloned().collect::<HashMap<_, _>>());
    config.channel_buffer_capacity = MAX_REQUESTS;
    let mut resumes = ExponentialBackoff::default();
    resumes.max_times = Some(RESUMES);
    resumes.base_duration = RESUME_AFTER;
    config.retry_config = Arc::new(resumes);
    if let Some(token) = &endpoint.bearer {
        config = config.auth_header(token);
    }
    let (ended, lost, server) = (tap.ended.clone(), lost.clone(), settings.name.clone());
    tokio::spawn(async move {
        ended.cancelled().await;
        lost.set(RemoteError::Disconnected {
            server,
            message: "the transport ended".into(),
        });
    });
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

/// Converts the error of a message that could not be sent. The URL may have a password.
pub(super) fn send_error(server: Name, error: DynamicTransportError) -> RemoteError {
    use rmcp::transport::streamable_http_client::StreamableHttpError;

    let source = match error
        .error
        .downcast::<StreamableHttpError<reqwest::Error>>()
    {
        Ok(error) => match *error {
            StreamableHttpError::Client(error) => SharedError::new(error.without_url()),
            error => SharedError::new(error),
        },
        Err(error) => SharedError::from(error),
    };
    RemoteError::Unreachable { server, source }
}
