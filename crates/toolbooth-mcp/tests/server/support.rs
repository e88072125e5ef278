//! Servers and clients of the tests, over pipes in memory.

use rmcp::ClientHandler;
use rmcp::model::{CallToolRequestParams, CallToolResult, ProtocolVersion};
use rmcp::service::{ClientLifecycleMode, RoleClient, RunningService, ServiceError};
use rmcp::service::{serve_client_with_lifecycle, serve_server};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;
use toolbooth::toolbox::Tool;
use toolbooth::{BoxError, tool_fn};
use toolbooth_mcp::McpServer;

/// The generations of the protocol.
pub(crate) const GENERATIONS: [Generation; 2] = [Generation::Sessions, Generation::Stateless];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Generation {
    /// 2025-11-25: begins by `initialize`.
    Sessions,
    /// 2026-07-28: each request stands for itself.
    Stateless,
}

/// Connects a client to the server.
pub(crate) async fn connect<C: ClientHandler>(
    server: McpServer,
    client: C,
    generation: Generation,
) -> RunningService<RoleClient, C> {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    tokio::spawn(async move {
        if let Ok(running) = serve_server(server, ours).await {
            let _ = running.waiting().await;
        }
    });
    let mode = match generation {
        Generation::Sessions => ClientLifecycleMode::Initialize,
        Generation::Stateless => ClientLifecycleMode::Discover {
            preferred_versions: vec![ProtocolVersion::V_2026_07_28],
        },
    };
    let connected = serve_client_with_lifecycle(client, theirs, mode).await;
    connected.expect("the server accepts a client")
}

pub(crate) fn params(name: &'static str, arguments: Value) -> CallToolRequestParams {
    match arguments {
        Value::Object(arguments) => CallToolRequestParams::new(name).with_arguments(arguments),
        _ => CallToolRequestParams::new(name),
    }
}

/// Returns the JSON of a result without the type of the result.
pub(crate) fn json_of(result: Result<CallToolResult, ServiceError>) -> Value {
    let result = result.expect("a result");
    let mut json = serde_json::to_value(result).expect("a result serializes");
    json.as_object_mut()
        .expect("an object")
        .remove("resultType");
    json
}

pub(crate) fn texts(result: &Value) -> Vec<&str> {
    let blocks = result["content"].as_array().expect("an array");
    blocks
        .iter()
        .map(|block| block["text"].as_str().unwrap_or("-"))
        .collect()
}

/// A tool that runs until it is dropped, and notes when it starts and when it is dropped.
pub(crate) fn hanging() -> (impl Tool, mpsc::UnboundedReceiver<Noted>) {
    let (sender, notes) = mpsc::unbounded_channel();
    let tool = tool_fn("hang", move |_: ()| {
        let dropped = Dropped(sender.clone());
        async move {
            let _ = dropped.0.send(Noted::Started);
            std::future::pending::<()>().await;
            drop(dropped);
            Ok::<_, BoxError>(())
        }
    });
    (tool, notes)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Noted {
    Started,
    Dropped(Instant),
}

struct Dropped(mpsc::UnboundedSender<Noted>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.send(Noted::Dropped(Instant::now()));
    }
}
