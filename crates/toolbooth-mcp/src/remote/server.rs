use std::ffi::OsString;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::timeout;
use toolbooth::ToolSpec;
use toolbooth_core::CallContext;

use super::builder::{RemoteServerBuilder, Settings};
use super::connection::Connection;
use super::list::{self, Tools};
use super::{RemoteError, RemoteTool};

/// A remote MCP server, whose tools are services. See the [module](super).
///
/// Clones are handles to the same server.
#[derive(Clone)]
pub struct RemoteServer {
    shared: Arc<Shared>,
}

/// What the handles of a server share.
pub(super) struct Shared {
    settings: Settings,
    state: Mutex<State>,
}

struct State {
    connection: Arc<Connection>,
    tools: Arc<Tools>,
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
        let (connection, tools) = open(&settings).await?;
        Ok(Self {
            shared: Arc::new(Shared {
                settings,
                state: Mutex::new(State {
                    connection: Arc::new(connection),
                    tools: Arc::new(tools),
                }),
            }),
        })
    }

    /// Returns the tools, sorted by name.
    #[must_use]
    pub fn tools(&self) -> Vec<(ToolSpec, RemoteTool)> {
        let tools = Arc::clone(&self.shared.lock().tools);
        let tool =
            |remote: &Arc<str>| RemoteTool::new(Arc::clone(&self.shared), Arc::clone(remote));
        let tools = tools.values();
        tools
            .map(|listed| (listed.spec.clone(), tool(&listed.remote)))
            .collect()
    }
}

impl fmt::Debug for RemoteServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteServer")
            .field("name", &self.shared.settings.name)
            .finish_non_exhaustive()
    }
}

// === impl Shared ===

impl Shared {
    pub(super) const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns the connection, and connects if there is none.
    #[expect(clippy::unused_async, reason = "it will connect")]
    pub(super) async fn connection(
        &self,
        _context: &CallContext,
    ) -> Result<Arc<Connection>, RemoteError> {
        let connection = Arc::clone(&self.lock().connection);
        match connection.lost().get() {
            Some(error) => Err(error.clone()),
            None => Ok(connection),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connects, and reads the list of tools.
async fn open(settings: &Settings) -> Result<(Connection, Tools), RemoteError> {
    let limit = settings.connect_timeout;
    let opened = timeout(limit, async {
        let connection = Connection::open(settings).await?;
        let tools = list::fetch(&connection, settings).await?;
        Ok((connection, tools))
    });
    opened.await.unwrap_or_else(|_| {
        Err(RemoteError::ConnectTimeout {
            server: settings.name.clone(),
            limit,
            stderr: "".into(),
        })
    })
}
