//! A server for the tests: a handler of rmcp, over HTTP in this process or as a program.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rmcp::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData,
    ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What the server has seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) cancelled: Arc<AtomicUsize>,
}

/// The handler.
#[derive(Debug, Clone, Default)]
pub(crate) struct Upstream {
    pub(crate) seen: Seen,
}

impl ServerHandler for Upstream {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().build();
        ServerConfig::new(capabilities)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = ["echo", "hang"].map(|name| {
            let schema = json!({ "type": "object" });
            Tool::new(
                name,
                "for tests",
                Arc::new(schema.as_object().cloned().unwrap_or_default()),
            )
        });
        Ok(ListToolsResult::with_all_items(tools.into()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        match &*request.name {
            "echo" => {
                let args = Value::Object(request.arguments.unwrap_or_default());
                let text = ContentBlock::text(args.to_string());
                Ok(CallToolResult::success(vec![text]).into())
            }
            "hang" => {
                context.ct.cancelled().await;
                self.seen.cancelled.fetch_add(1, Ordering::SeqCst);
                Err(ErrorData::internal_error("cancelled", None))
            }
            name => Err(ErrorData::invalid_params(
                format!("unknown tool {name}"),
                None,
            )),
        }
    }
}

/// Serves it over HTTP. The server ends with the token.
pub(crate) async fn serve(upstream: Upstream, ct: CancellationToken) -> String {
    let mut config = StreamableHttpServerConfig::default();
    config.cancellation_token = ct.child_token();
    let factory = move || Ok(upstream.clone());
    let service =
        StreamableHttpService::new(factory, Arc::<LocalSessionManager>::default(), config);
    let router = axum::Router::new().nest_service("/mcp", service);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let served = axum::serve(listener, router);
    tokio::spawn(async move {
        tokio::select! {
            served = served => served.expect("it serves"),
            () = ct.cancelled() => {}
        }
    });
    format!("http://{address}/mcp")
}
