mod link;
mod refresh;
mod shared;
mod status;

use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;

use toolbooth::toolbox::ToolboxError;
use toolbooth::{ToolError, ToolSpec, Toolbox};

pub(super) use self::shared::{Shared, StderrSlot};
pub use self::status::RemoteStatus;
use super::builder::{RemoteServerBuilder, Settings};
use super::{Installed, RemoteError, RemoteTool};

/// A remote MCP server, whose tools are services. See the [module](super).
///
/// Clones are handles to the same server. The connection, and the program, end when the last handle
/// and the last [tool](RemoteTool) are dropped.
#[derive(Clone)]
pub struct RemoteServer {
    shared: Arc<Shared>,
}

// === impl RemoteServer ===

impl RemoteServer {
    /// Makes the builder of a server that is a program: it reads requests from its standard input,
    /// and writes responses to its standard output.
    pub fn stdio(program: impl Into<OsString>) -> RemoteServerBuilder {
        RemoteServerBuilder::stdio(program.into())
    }

    /// Makes the builder of a server over streamable HTTP. An https URL needs the feature `tls`.
    pub fn http(url: impl Into<String>) -> RemoteServerBuilder {
        RemoteServerBuilder::http(url.into())
    }

    pub(super) async fn connect(settings: Settings) -> Result<Self, RemoteError> {
        let shared = Shared::connect(settings).await?;
        Ok(Self { shared })
    }

    pub(super) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Returns the name of the server in errors and logs.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.settings().name
    }

    /// Returns the tools, sorted by name, as the server has listed them last.
    #[must_use]
    pub fn tools(&self) -> Vec<(ToolSpec, RemoteTool)> {
        let tools = self.shared.tools();
        let tools = tools.values();
        tools
            .map(|listed| (listed.spec.clone(), listed.tool(&self.shared)))
            .collect()
    }

    /// Adds the tools to a toolbox, and keeps the toolbox up to date with the list of the server:
    /// tools are inserted, replaced and removed when it changes.
    ///
    /// # Errors
    /// A tool cannot be inserted, such as because its name is in use. Nothing changes.
    ///
    /// # Panics
    /// Without a tokio runtime.
    pub fn install(&self, toolbox: &Toolbox) -> Result<Installed, ToolboxError> {
        Installed::new(&self.shared, toolbox)
    }

    /// Returns how the server is, for people and for checks of health.
    #[must_use]
    pub fn status(&self) -> RemoteStatus {
        self.shared.status()
    }

    /// Returns the error that a call has now, if there is no connection: for how long the server
    /// has been away, why, and the time until the next attempt to connect.
    ///
    /// Calls are made in spite of it once that time is over, since they connect.
    #[must_use]
    pub fn away(&self) -> Option<ToolError> {
        self.shared.away().map(|error| match error {
            RemoteError::Away {
                since, retry_after, ..
            } => error.rejection(since, retry_after),
            error => ToolError::failed(error).with_outage(false),
        })
    }

    /// Returns the instructions of the server for a model, at most 16 KiB of them, if it sent any.
    /// They are those of the last connection.
    #[must_use]
    pub fn instructions(&self) -> Option<Arc<str>> {
        self.shared.instructions()
    }

    /// Returns the last 8 KiB of the standard error of the program that was started last. Empty for
    /// a server over HTTP. It may have secrets.
    #[must_use]
    pub fn stderr_tail(&self) -> String {
        self.shared.stderr_tail()
    }

    /// Connects again if there is no connection, as a call of a tool does, and notices a loss.
    ///
    /// For a health check: without it, the next call of a tool connects.
    ///
    /// # Errors
    /// The attempt failed, it is too early for the next one, or the server is closed here.
    ///
    /// # Cancel safety
    /// Safe: the attempt continues if the future is dropped.
    pub async fn reconnect(&self) -> Result<(), RemoteError> {
        self.shared.connection().await.map(drop)
    }

    /// Closes the connection permanently. Calls in flight and later ones fail with
    /// [`RemoteError::Closed`].
    ///
    /// Returns when the program and all that it has started have ended, or the session at an
    /// endpoint was deleted. A program has half a second to exit when its input ends, and 2 s after
    /// SIGTERM.
    ///
    /// # Cancel safety
    /// The server is closed by the first poll. Dropping the future ends the wait alone.
    pub async fn close(&self) {
        self.shared.close().await;
    }
}

impl fmt::Debug for RemoteServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteServer")
            .field("name", &self.name())
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}
