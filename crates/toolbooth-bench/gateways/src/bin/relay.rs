//! The barest relay that rmcp allows: `relay stdio|PORT COMMAND...`. It has no limits.

use std::sync::Arc;

use axum::serve::ListenerExt;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, ErrorCode, ListToolsResult, PaginatedRequestParams,
    ServerCapabilities, ServerConfig,
};
use rmcp::service::{Peer, RequestContext, RoleClient, RoleServer, ServiceError};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::transport::{TokioChildProcess, stdio_pipes};
use rmcp::{ErrorData, ServerHandler, ServiceExt};

type Error = Box<dyn std::error::Error + Send + Sync>;

#[derive(Clone)]
struct Relay(Peer<RoleClient>);

impl ServerHandler for Relay {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        self.0.list_tools(request).await.map_err(error)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let ct = context.ct.clone();
        tokio::select! {
            () = ct.cancelled() => Err(ErrorData::internal_error("cancelled", None)),
            result = self.0.call_tool_once(request) => result.map_err(error),
        }
    }
}

fn error(error: ServiceError) -> ErrorData {
    match error {
        ServiceError::McpError(error) => error,
        error => ErrorData::new(ErrorCode::INTERNAL_ERROR, error.to_string(), None),
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let front = arguments
        .next()
        .ok_or("usage: relay stdio|PORT COMMAND...")?;
    let mut command = tokio::process::Command::new(arguments.next().ok_or("no command")?);
    command.args(arguments);
    let client = ().serve(TokioChildProcess::new(command)?).await?;
    let relay = Relay(client.peer().clone());
    if front == "stdio" {
        relay.serve(stdio_pipes()).await?.waiting().await?;
        return Ok(());
    }
    let service = StreamableHttpService::new(
        move || Ok(relay.clone()),
        Arc::new(LocalSessionManager::default()),
        StreamableHttpServerConfig::default(),
    );
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", front.parse()?)).await?;
    // Otherwise the second write of a response waits 40 ms for an acknowledgement.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, axum::Router::new().nest_service("/mcp", service)).await?;
    Ok(())
}
