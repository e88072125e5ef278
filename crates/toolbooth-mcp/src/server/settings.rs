//! The settings of a server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{Implementation, ServerCapabilities, ServerConfig};
use rmcp::service::{RequestContext, RoleServer};
use toolbooth::Name;

use super::McpServer;

/// The number of tools on a page.
const PAGE_SIZE: usize = 100;

/// The time between two notifications of progress of a call.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

type TenantOf = dyn Fn(&RequestContext<RoleServer>) -> Option<Name> + Send + Sync;

#[derive(Clone)]
pub(super) struct Settings {
    name: String,
    version: String,
    instructions: Option<String>,
    pub(super) page_size: usize,
    pub(super) progress_interval: Duration,
    tenant: Option<Arc<TenantOf>>,
}

// === impl McpServer ===

impl McpServer {
    /// Sets the name of the server that clients show, by default `toolbooth`.
    #[must_use]
    pub fn with_name(self, name: impl Into<String>) -> Self {
        self.with(|settings| settings.name = name.into())
    }

    /// Sets the version of the server that clients show, by default that of this crate.
    #[must_use]
    pub fn with_version(self, version: impl Into<String>) -> Self {
        self.with(|settings| settings.version = version.into())
    }

    /// Sets instructions for models on how to use the tools. None by default.
    #[must_use]
    pub fn with_instructions(self, instructions: impl Into<String>) -> Self {
        self.with(|settings| settings.instructions = Some(instructions.into()))
    }

    /// Sets the number of tools on a page of the list, by default 100. 0 counts as 1.
    #[must_use]
    pub fn with_page_size(self, tools: usize) -> Self {
        self.with(|settings| settings.page_size = tools.max(1))
    }

    /// Sets the minimum time between two notifications of progress of a call, by default 100 ms.
    /// What a call publishes in between is combined.
    #[must_use]
    pub fn with_progress_interval(self, interval: Duration) -> Self {
        self.with(|settings| settings.progress_interval = interval)
    }

    /// Sets how the tenant of a call is found, from the request that made it. By default, and where
    /// this returns `None`, it is the [`CallTenant`](toolbooth::CallTenant) in the extensions of
    /// the HTTP request, if there is one. So is the priority the
    /// [`CallPriority`](toolbooth::CallPriority).
    ///
    /// Over HTTP the extensions of the context contain the `http::request::Parts` of the request,
    /// whose extensions are those that layers and axum added:
    ///
    /// ```
    /// use http::request::Parts;
    /// use toolbooth::{Name, Toolbox};
    /// use toolbooth_mcp::McpServer;
    ///
    /// #[derive(Clone)]
    /// struct User(Name); // added by a layer that checks tokens
    ///
    /// # fn main() -> Result<(), toolbooth::BoxError> {
    /// # let toolbox = Toolbox::builder().build()?;
    /// let server = McpServer::new(toolbox).with_tenant(|context| {
    ///     let request = context.extensions.get::<Parts>()?;
    ///     request.extensions.get::<User>().map(|user| user.0.clone())
    /// });
    /// # let _ = server;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn with_tenant<F>(self, tenant: F) -> Self
    where
        F: Fn(&RequestContext<RoleServer>) -> Option<Name> + Send + Sync + 'static,
    {
        self.with(|settings| settings.tenant = Some(Arc::new(tenant)))
    }

    fn with(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        set(Arc::make_mut(&mut self.settings));
        self
    }
}

impl fmt::Debug for McpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpServer")
            .field("name", &self.settings.name)
            .field("toolbox", &self.toolbox)
            .finish_non_exhaustive()
    }
}

// === impl Settings ===

impl Settings {
    /// Returns what the server declares.
    pub(super) fn info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed()
            .build();
        let mut info = ServerConfig::new(capabilities);
        info.server_info = Implementation::new(self.name.clone(), self.version.clone());
        info.instructions.clone_from(&self.instructions);
        info
    }

    pub(super) fn tenant_of(&self, context: &RequestContext<RoleServer>) -> Option<Name> {
        self.tenant.as_ref().and_then(|tenant| tenant(context))
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: "toolbooth".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instructions: None,
            page_size: PAGE_SIZE,
            progress_interval: PROGRESS_INTERVAL,
            tenant: None,
        }
    }
}
