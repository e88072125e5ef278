use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use toolbooth_core::{Name, ToolError, start_of};

/// The maximum length of a text of a remote server in an error, in bytes.
const MAX_TEXT: usize = 2_048;

/// Why a remote server, or a call of one of its tools, failed.
///
/// The error of a call has it as its source: [`RemoteError::find`]. What it quotes of the server is
/// bounded. It is for logs: [`ToolError::public_message`] has nothing of it.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// A setting cannot work. Nothing was started.
    #[error("the settings of the server `{server}` cannot work: {message}")]
    #[non_exhaustive]
    Setting {
        /// The name of the server.
        server: Name,
        /// What is wrong. It quotes no header values and no tokens.
        message: Arc<str>,
    },
    /// The program of the server could not be started.
    #[error("the program of the server `{server}` could not be started")]
    #[non_exhaustive]
    NotStarted {
        /// The name of the server.
        server: Name,
        /// The error of the system.
        source: SharedError,
    },
    /// The program of the server ended.
    #[error("the server `{server}` ended{}{}", ended_with(.status.as_deref()), last_lines(.stderr))]
    #[non_exhaustive]
    Ended {
        /// The name of the server.
        server: Name,
        /// How it ended, such as `exit status: 3`. `None` if that is not known.
        status: Option<Arc<str>>,
        /// The end of its standard error.
        stderr: Arc<str>,
    },
    /// The connection to the server was lost.
    #[error("the connection to the server `{server}` was lost: {message}")]
    #[non_exhaustive]
    Disconnected {
        /// The name of the server.
        server: Name,
        /// What happened.
        message: Arc<str>,
    },
    /// A message could not be sent to the server, or its response not be received.
    #[error("the server `{server}` could not be reached")]
    #[non_exhaustive]
    Unreachable {
        /// The name of the server.
        server: Name,
        /// The error of the transport.
        source: SharedError,
    },
    /// The server did not accept the authorization, or needs one.
    #[error("the server `{server}` did not accept the authorization")]
    #[non_exhaustive]
    Unauthorized {
        /// The name of the server.
        server: Name,
    },
    /// The server rejected a request by a status of HTTP: 429, or 500 and above.
    #[error("the server `{server}` returned the status {status}")]
    #[non_exhaustive]
    Status {
        /// The name of the server.
        server: Name,
        /// The status of HTTP.
        status: u16,
        /// The time to wait before a retry, if the server named it. At most an hour.
        retry_after: Option<Duration>,
    },
    /// The server and this client did not agree on a connection.
    #[error("no connection to the server `{server}` was set up: {message}")]
    #[non_exhaustive]
    Handshake {
        /// The name of the server.
        server: Name,
        /// What happened.
        message: Arc<str>,
    },
    /// The connection was not set up within its limit.
    #[error(
        "no connection to the server `{server}` was set up within {limit:?}{}",
        last_lines(.stderr)
    )]
    #[non_exhaustive]
    ConnectTimeout {
        /// The name of the server.
        server: Name,
        /// The limit.
        limit: Duration,
        /// The end of its standard error.
        stderr: Arc<str>,
    },
    /// The last connection was lost, or the last attempt to connect failed, and the next attempt is
    /// made later.
    #[error("the server `{server}` is away, the next attempt to connect is in {retry_after:?}")]
    #[non_exhaustive]
    Away {
        /// The name of the server.
        server: Name,
        /// The time since the connection was lost.
        since: Duration,
        /// The time until the next attempt.
        retry_after: Duration,
        /// Why it is away.
        source: Box<Self>,
    },
    /// The server returned a JSON-RPC error.
    #[error("the server `{server}` returned the error {code}: {message}")]
    #[non_exhaustive]
    Rpc {
        /// The name of the server.
        server: Name,
        /// The code of JSON-RPC.
        code: i32,
        /// The message of the server, shortened.
        message: Arc<str>,
    },
    /// The server returned something that is not the result of a tool.
    #[error("the server `{server}` returned {message}")]
    #[non_exhaustive]
    Malformed {
        /// The name of the server.
        server: Name,
        /// What it returned.
        message: Arc<str>,
    },
    /// The tool needs input of a user, such as by elicitation, which is not supported here.
    #[error("the tool of the server `{server}` needs input, which a call cannot give")]
    #[non_exhaustive]
    InputRequired {
        /// The name of the server.
        server: Name,
    },
    /// The server made a task of the call, which was not asked for.
    #[error("the server `{server}` made a task of the call, which it was not asked for")]
    #[non_exhaustive]
    Task {
        /// The name of the server.
        server: Name,
    },
    /// The list of tools cannot be used.
    #[error("the tools of the server `{server}` cannot be used: {message}")]
    #[non_exhaustive]
    Tools {
        /// The name of the server.
        server: Name,
        /// What is wrong.
        message: Arc<str>,
    },
    /// The server was [closed](super::RemoteServer::close) here.
    #[error("the server `{server}` is closed")]
    #[non_exhaustive]
    Closed {
        /// The name of the server.
        server: Name,
    },
}

/// An error of the system or of a transport, shared by the errors of all calls that it ended.
///
/// It dereferences to the error.
#[derive(Clone)]
pub struct SharedError(Arc<dyn Error + Send + Sync>);

// === impl RemoteError ===

impl RemoteError {
    /// Finds the error of a remote server in the error of a call, through all layers.
    ///
    /// ```
    /// use toolbooth_core::ToolError;
    /// use toolbooth_mcp::RemoteError;
    ///
    /// assert!(RemoteError::find(&ToolError::failed("another failure")).is_none());
    /// ```
    #[must_use]
    pub fn find(error: &ToolError) -> Option<&Self> {
        let mut next: Option<&(dyn Error + 'static)> = error.source();
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            next = error.source();
        }
        None
    }

    /// Returns what happened, without what the server has sent or written. Clients may read it.
    #[must_use]
    pub const fn summary(&self) -> &'static str {
        match self {
            Self::Setting { .. } => "its settings cannot work",
            Self::NotStarted { .. } => "its program could not be started",
            Self::Ended { .. } => "its program ended",
            Self::Disconnected { .. } => "the connection was lost",
            Self::Unreachable { .. } => "it could not be reached",
            Self::Unauthorized { .. } => "it did not accept the authorization",
            Self::Handshake { .. } => "it did not agree on a connection",
            Self::ConnectTimeout { .. } => "no connection was set up in time",
            Self::Tools { .. } => "its list of tools cannot be used",
            Self::Away { source, .. } => source.summary(),
            Self::Closed { .. } => "it is closed",
            Self::Status { .. }
            | Self::Rpc { .. }
            | Self::Malformed { .. }
            | Self::InputRequired { .. }
            | Self::Task { .. } => "it rejected a request",
        }
    }

    /// Makes the error of a call that is rejected, since the server has been away for a time.
    #[must_use]
    pub fn rejection(self, since: Duration, retry_after: Duration) -> ToolError {
        let (server, summary) = (self.server(), self.summary());
        let since = Duration::from_secs(since.as_secs());
        let reason = format!("the server `{server}` has been away for {since:?} ({summary})");
        let error = ToolError::circuit_open(retry_after).with_reason(reason);
        error.with_source(ToolError::failed(self))
    }

    /// Returns the name of the server.
    #[must_use]
    pub fn server(&self) -> &str {
        match self {
            Self::Setting { server, .. }
            | Self::NotStarted { server, .. }
            | Self::Ended { server, .. }
            | Self::Disconnected { server, .. }
            | Self::Unreachable { server, .. }
            | Self::Unauthorized { server }
            | Self::Status { server, .. }
            | Self::Handshake { server, .. }
            | Self::ConnectTimeout { server, .. }
            | Self::Away { server, .. }
            | Self::Rpc { server, .. }
            | Self::Malformed { server, .. }
            | Self::InputRequired { server }
            | Self::Task { server }
            | Self::Tools { server, .. }
            | Self::Closed { server } => server,
        }
    }
}

// === impl SharedError ===

impl SharedError {
    pub(super) fn new(error: impl Error + Send + Sync + 'static) -> Self {
        Self(Arc::new(error))
    }
}

impl From<Box<dyn Error + Send + Sync>> for SharedError {
    fn from(error: Box<dyn Error + Send + Sync>) -> Self {
        Self(error.into())
    }
}

impl std::ops::Deref for SharedError {
    type Target = dyn Error + Send + Sync;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl fmt::Debug for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Returns a text of the server, shortened and without control characters.
pub(super) fn bounded(text: &str) -> Arc<str> {
    let is_shown = |c: &char| !c.is_control() || matches!(c, '\n' | '\t');
    start_of(text, MAX_TEXT)
        .chars()
        .filter(is_shown)
        .collect::<String>()
        .into()
}

/// Returns the end of a text of the server, as [`bounded`].
pub(super) fn last_of(text: &str) -> Arc<str> {
    let mut start = text.len().saturating_sub(MAX_TEXT);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    bounded(&text[start..])
}

fn ended_with(status: Option<&str>) -> String {
    status.map_or_else(String::new, |status| format!(" with {status}"))
}

fn last_lines(stderr: &str) -> String {
    match stderr.is_empty() {
        true => String::new(),
        false => format!("; its last lines: {stderr}"),
    }
}
