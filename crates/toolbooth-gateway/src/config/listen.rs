use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected, Visitor};
use toolbooth::policy::{PolicyError, Setting};

use super::TokenHash;
use super::file::Reader;
use super::tenant::TokenHashes;

/// Where clients connect.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listen {
    /// MCP over standard input and output: by default, unless there is an address.
    pub stdio: bool,
    /// The address of MCP over streamable HTTP, and of the HTTP API.
    pub http: Option<SocketAddr>,
    /// The path of MCP: `/mcp` by default.
    pub path: String,
    /// Whether the HTTP API is served at the address, too: true by default.
    pub api: bool,
    /// Names of hosts that requests may have, beside the address and, on loopback, `localhost`.
    pub allowed_hosts: Vec<String>,
    /// Origins of web pages that may send requests: none by default.
    pub allowed_origins: Vec<String>,
    /// The largest body of a request, in bytes: 4 MiB by default.
    pub max_body: usize,
    /// The most connections at once: 1,024 by default.
    pub max_connections: usize,
    /// How long the headers of a request may take: 10 s by default.
    pub header_timeout: Duration,
}

/// The address of the operator: health, readiness, metrics, and the page of calls.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Admin {
    /// The address. One that is not loopback needs a token.
    pub listen: SocketAddr,
    /// The tokens that are allowed. Empty: every request on loopback.
    pub tokens: Vec<TokenHash>,
}

/// What is logged, to standard error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Log {
    /// The filter, such as `info` or `warn,toolbooth=debug`: `info` by default.
    pub level: Option<String>,
    /// The format: by default text.
    pub format: LogFormat,
}

/// The format of logs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// A line of JSON for each event.
    Json,
}

/// How long running calls have when the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shutdown {
    /// The time in which running calls may end by themselves: 10 s by default.
    pub grace: Duration,
    /// The time after that for cleanup, and for what outlives calls: 10 s by default.
    pub limit: Duration,
}

/// The table `[listen]`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table of listeners")]
pub(super) struct ListenTable {
    stdio: Option<bool>,
    http: Option<Address>,
    path: Option<String>,
    api: Option<bool>,
    allowed_hosts: Vec<String>,
    allowed_origins: Vec<String>,
    max_body: Setting<u64>,
    max_connections: Setting<u32>,
    header_timeout: Setting<Duration>,
}

/// The table `[admin]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of the operator's address")]
pub(super) struct AdminTable {
    listen: Address,
    token_sha256: Option<TokenHashes>,
}

/// The table `[log]`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table of logs")]
pub(super) struct LogTable {
    level: Option<String>,
    format: Option<LogFormat>,
}

/// The table `[shutdown]`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table of times")]
pub(super) struct ShutdownTable {
    grace: Setting<Duration>,
    limit: Setting<Duration>,
}

/// An address as the file has it.
struct Address(SocketAddr);

// === impl Address ===

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl Visitor<'_> for Read {
            type Value = Address;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an IP address and a port, such as \"127.0.0.1:8808\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Address, E> {
                let address = text.parse().ok().map(Address);
                address.ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_str(Read)
    }
}

// === impl ListenTable ===

impl ListenTable {
    pub(super) fn read(self, reader: &Reader<'_>) -> Result<Listen, PolicyError> {
        let default = Listen::default();
        let keys = &["listen"];
        let stdio = self.stdio.unwrap_or(self.http.is_none());
        if !stdio && self.http.is_none() {
            let message = "there is no listener: set it to true, or add `http`";
            return Err(reader.fault(keys, "stdio", message));
        }
        Ok(Listen {
            stdio,
            http: self.http.map(|http| http.0),
            path: self.path.unwrap_or(default.path),
            api: self.api.unwrap_or(default.api),
            allowed_hosts: self.allowed_hosts,
            allowed_origins: self.allowed_origins,
            max_body: reader.size(keys, "max_body", &self.max_body, default.max_body)?,
            max_connections: reader.size(
                keys,
                "max_connections",
                &self.max_connections,
                default.max_connections,
            )?,
            header_timeout: reader.duration(
                keys,
                "header_timeout",
                &self.header_timeout,
                default.header_timeout,
            )?,
        })
    }
}

// === impl AdminTable ===

impl AdminTable {
    pub(super) fn read(self) -> Admin {
        Admin {
            listen: self.listen.0,
            tokens: self.token_sha256.map(|hashes| hashes.0).unwrap_or_default(),
        }
    }
}

// === impl LogTable ===

impl LogTable {
    pub(super) fn read(self, reader: &Reader<'_>) -> Result<Log, PolicyError> {
        let parsed = self
            .level
            .as_ref()
            .map(tracing_subscriber::EnvFilter::try_new);
        if let Some(Err(error)) = parsed {
            let message =
                format!("{error}: a filter is expected, such as \"warn,toolbooth=debug\"");
            return Err(reader.fault(&["log"], "level", message));
        }
        Ok(Log {
            level: self.level,
            format: self.format.unwrap_or_default(),
        })
    }
}

// === impl ShutdownTable ===

impl ShutdownTable {
    pub(super) fn read(self, reader: &Reader<'_>) -> Result<Shutdown, PolicyError> {
        let default = Shutdown::default();
        let keys = &["shutdown"];
        Ok(Shutdown {
            grace: reader.duration(keys, "grace", &self.grace, default.grace)?,
            limit: reader.duration(keys, "limit", &self.limit, default.limit)?,
        })
    }
}

// === impl Listen ===

impl Default for Listen {
    fn default() -> Self {
        Self {
            stdio: true,
            http: None,
            path: "/mcp".to_owned(),
            api: true,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            max_body: 4 << 20,
            max_connections: 1_024,
            header_timeout: Duration::from_secs(10),
        }
    }
}

// === impl Shutdown ===

impl Default for Shutdown {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(10),
            limit: Duration::from_secs(10),
        }
    }
}
