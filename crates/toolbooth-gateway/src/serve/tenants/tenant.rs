//! What one tenant reaches: MCP and the HTTP API over its tools, with its limits.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use http::header::ORIGIN;
use http::{Request, Response, StatusCode};
use toolbooth::toolbox::{ToolFuture, ToolService, ToolboxError};
use toolbooth::{Name, ToolCall, ToolError, ToolOutput, Toolbox};
use toolbooth_axum::ToolRouter;
use toolbooth_mcp::{HttpOptions, HttpService, McpServer};
use tower::{Service, ServiceExt};

use super::view::View;
use crate::config;
use crate::serve::calls::{Calls, Identity, Limits};
use crate::serve::http::{Budget, reply};

/// The settings that all tenants share.
#[derive(Debug, Clone)]
pub(crate) struct FrontSettings {
    /// The path of MCP.
    pub(crate) path: String,
    /// Whether the HTTP API is served.
    pub(crate) api: bool,
    pub(crate) max_body: usize,
}

/// A tenant that has made a request.
pub(crate) struct Tenant {
    calls: Calls,
    name: Option<Name>,
    /// If it may not call every tool.
    view: Option<View>,
    stack: Arc<ArcSwap<Stack>>,
    path: String,
    mcp: HttpService,
    api: Option<Router>,
    budget: Budget,
}

/// Its limits, and its tools within them.
struct Stack {
    identity: Identity,
    limits: Limits,
    service: ToolService,
}

/// Calls through the stack that is current when the call is made.
#[derive(Clone)]
struct Current(Arc<ArcSwap<Stack>>);

// === impl Tenant ===

impl Tenant {
    pub(super) fn new(
        name: Option<&str>,
        config: &config::Tenant,
        calls: &Calls,
        settings: &FrontSettings,
    ) -> Result<Self, ToolboxError> {
        let all = &calls.toolbox;
        let view = config
            .tools
            .is_some()
            .then(|| View::new(all.clone(), config))
            .transpose()?;
        let tools = view.as_ref().map_or(all, View::toolbox);
        let name = name.map(Name::from);
        let limits = calls.limits(name.as_ref(), config);
        let stack = Stack::new(calls, tools, name.as_ref(), config, limits);
        let stack = Arc::new(ArcSwap::from_pointee(stack));

        let service = Current(Arc::clone(&stack));
        // The host and the origin are checked before.
        let options = HttpOptions::new()
            .with_any_host()
            .with_body_limit(settings.max_body);
        let mcp = McpServer::with_service(tools.clone(), service.clone()).into_http(options);
        let api = settings.api.then(|| {
            let paths = format!("MCP is at {}, and the HTTP API at /tools", settings.path);
            ToolRouter::with_service(tools.clone(), service)
                .with_max_body(settings.max_body)
                .into_router()
                .fallback(async move || reply(StatusCode::NOT_FOUND, paths))
        });
        Ok(Self {
            calls: calls.clone(),
            name,
            stack,
            path: settings.path.clone(),
            mcp,
            api,
            budget: Budget::new(settings.max_body),
            view,
        })
    }

    pub(crate) const fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Serves a request whose body is complete.
    pub(crate) async fn respond(&self, mut request: Request<Body>) -> Response<Body> {
        self.stack.load().identity.mark_request(&mut request);
        if request.uri().path() == self.path {
            // It is allowed here, and unknown there.
            request.headers_mut().remove(ORIGIN);
            return match self.mcp.clone().call(request).await {
                Ok(response) => response.map(Body::new),
                Err(never) => match never {},
            };
        }
        match &self.api {
            Some(api) => match api.clone().oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            },
            None => reply(
                StatusCode::NOT_FOUND,
                format_args!("MCP is at {}", self.path),
            ),
        }
    }

    /// Applies other settings to later calls.
    pub(super) fn change(&self, old: &config::Tenant, new: &config::Tenant) {
        let next = self.calls.limits(self.name.as_ref(), new);
        let limits = self.stack.load().limits.changed(old, new, next);
        let tools = self
            .view
            .as_ref()
            .map_or(&self.calls.toolbox, View::toolbox);
        let stack = Stack::new(&self.calls, tools, self.name.as_ref(), new, limits);
        self.stack.store(Arc::new(stack));
        self.update_view(new);
    }

    pub(super) fn update_view(&self, config: &config::Tenant) {
        if let Some(view) = &self.view {
            view.update(config);
        }
    }

    /// Ends its sessions.
    pub(super) fn close(&self) {
        self.mcp.close();
    }
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenant")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

// === impl Stack ===

impl Stack {
    fn new(
        calls: &Calls,
        tools: &Toolbox,
        name: Option<&Name>,
        config: &config::Tenant,
        limits: Limits,
    ) -> Self {
        let identity = Identity {
            tenant: name.cloned(),
            priority: config.priority,
        };
        let service = calls.service(tools, &limits, identity.clone());
        Self {
            identity,
            limits,
            service,
        }
    }
}

// === impl Current ===

impl Service<ToolCall> for Current {
    type Response = ToolOutput;
    type Error = ToolError;
    type Future = ToolFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: ToolCall) -> ToolFuture {
        self.0.load().service.clone().call(call)
    }
}
