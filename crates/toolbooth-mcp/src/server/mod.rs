//! A toolbox as an MCP server.

mod arguments;
mod call;
mod changes;
mod collect;
mod handler;
mod http;
mod page;
mod progress;
mod settings;
mod structured;

use std::sync::Arc;

use rmcp::ServiceExt as _;
use rmcp::service::{RoleServer, RunningService, ServerInitializeError};
use toolbooth::Toolbox;
use toolbooth::toolbox::{Tool, ToolService};

use self::changes::Clients;
pub use self::http::{HttpBody, HttpOptions, HttpService, SessionOwner};
use self::settings::Settings;

/// A toolbox as an MCP server: an `rmcp::ServerHandler`. See the [module](self).
///
/// Clones serve the same tools. A setting applies to the value on which it is made.
#[derive(Clone)]
pub struct McpServer {
    toolbox: Toolbox,
    /// Calls the tools of the toolbox, with layers around it.
    service: ToolService,
    settings: Arc<Settings>,
    clients: Arc<Clients>,
}

// === impl McpServer ===

impl McpServer {
    /// Creates a server of the tools of this toolbox.
    #[must_use]
    pub fn new(toolbox: Toolbox) -> Self {
        let service = ToolService::new(toolbox.clone());
        Self::of(toolbox, service)
    }

    /// Creates a server that lists the tools of `toolbox`, and calls them through `service`: the
    /// toolbox within layers.
    #[must_use]
    pub fn with_service(toolbox: Toolbox, service: impl Tool) -> Self {
        Self::of(toolbox, ToolService::new(service))
    }

    fn of(toolbox: Toolbox, service: ToolService) -> Self {
        Self {
            toolbox,
            service,
            settings: Arc::default(),
            clients: Arc::new(Clients::new()),
        }
    }

    /// Serves one client on the standard input and output of this process. Returns once the client
    /// has initialized; [`waiting`](RunningService::waiting) then waits for its end.
    ///
    /// Nothing else may write to the standard output.
    ///
    /// # Errors
    /// The client did not initialize.
    pub async fn serve_stdio(
        self,
    ) -> Result<RunningService<RoleServer, Self>, Box<ServerInitializeError>> {
        let transport = rmcp::transport::stdio();
        self.serve(transport).await.map_err(Box::new)
    }
}
