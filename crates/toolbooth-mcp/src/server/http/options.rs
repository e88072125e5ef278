//! The settings of the HTTP transport.

use std::time::Duration;

use rmcp::transport::streamable_http_server::StreamableHttpServerConfig;

/// The settings of an [`HttpService`](super::HttpService). Made by [`HttpOptions::new`].
///
/// ```
/// use std::time::Duration;
/// use toolbooth_mcp::HttpOptions;
///
/// let options = HttpOptions::new()
///     .with_allowed_hosts(["mcp.example.com"])
///     .with_keep_alive(Duration::from_secs(5));
/// # let _ = options;
/// ```
#[derive(Debug, Clone)]
pub struct HttpOptions {
    allowed_hosts: Vec<String>,
    allowed_origins: Vec<String>,
    body_limit: usize,
    pub(super) keep_alive: Duration,
    pub(super) max_sessions: usize,
    pub(super) session_idle_limit: Duration,
}

/// The hosts of this machine, as clients on it write them.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

// === impl HttpOptions ===

impl HttpOptions {
    /// Creates the default settings: for clients on this machine.
    #[must_use]
    pub fn new() -> Self {
        let origins = ["http", "https"].into_iter().flat_map(|scheme| {
            let hosts = LOOPBACK.into_iter();
            hosts.map(move |host| format!("{scheme}://{host}:*"))
        });
        Self {
            allowed_hosts: ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into(),
            allowed_origins: origins.collect(),
            body_limit: 4 << 20,
            keep_alive: Duration::from_secs(15),
            max_sessions: 1_000,
            session_idle_limit: Duration::from_secs(5 * 60),
        }
    }

    /// Sets the hosts that requests may name in `Host`, each with or without a port. By default the
    /// names of the loopback addresses. Other requests receive 403.
    ///
    /// The check protects servers on a private network from pages in a browser there (DNS
    /// rebinding).
    #[must_use]
    pub fn with_allowed_hosts(
        mut self,
        hosts: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        self.allowed_hosts = hosts.into_iter().map(Into::into).collect();
        self
    }

    /// Accepts requests with any `Host`. For servers behind a proxy that checks it.
    #[must_use]
    pub fn with_any_host(mut self) -> Self {
        self.allowed_hosts.clear();
        self
    }

    /// Sets the origins whose pages may send requests, such as `https://app.example.com:443`. A
    /// port of `*` is any port. By default the loopback addresses. Requests without an `Origin`
    /// pass, others receive 403.
    #[must_use]
    pub fn with_allowed_origins(
        mut self,
        origins: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        self.allowed_origins = origins.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the maximum size of a request's body in bytes, by default 4 MiB. Larger requests
    /// receive 413.
    #[must_use]
    pub const fn with_body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// Sets the time between two comments on an idle stream, by default 15 s. A client that does
    /// not read is found by them.
    ///
    /// In a session it is also how long a call runs on after its client is gone. Within that time
    /// the client may resume the stream.
    #[must_use]
    pub const fn with_keep_alive(mut self, interval: Duration) -> Self {
        self.keep_alive = interval;
        self
    }

    /// Sets the maximum number of sessions, by default 1,000. Further clients receive 503. Clients
    /// of the protocol 2026-07-28 need no session.
    #[must_use]
    pub const fn with_max_sessions(mut self, sessions: usize) -> Self {
        self.max_sessions = sessions;
        self
    }

    /// Sets how long a session lasts without an open stream and without requests, by default 5
    /// minutes. A client that uses it afterwards receives 404, and makes a new one.
    #[must_use]
    pub const fn with_session_idle_limit(mut self, limit: Duration) -> Self {
        self.session_idle_limit = limit;
        self
    }

    pub(super) fn into_config(self) -> StreamableHttpServerConfig {
        StreamableHttpServerConfig::default()
            .with_allowed_hosts(self.allowed_hosts)
            .with_allowed_origins(self.allowed_origins)
            .enforce_origin_validation()
            .with_max_request_body_bytes(self.body_limit)
            .with_sse_keep_alive(Some(self.keep_alive))
            .with_json_response(true)
    }
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self::new()
    }
}
