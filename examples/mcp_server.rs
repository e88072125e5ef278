//! A toolbox as an MCP server, over stdio or HTTP.
//!
//! ```text
//! cargo run -p toolbooth-examples --features mcp --example mcp_server [-- --stdio | --http 8000]
//! ```
//!
//! Without arguments it calls its tools itself, over a pipe in memory. With `--stdio` it serves a
//! client that starts this program, with `--http` the address <http://127.0.0.1:8000/mcp>.
//!
//! To try it in a client that reads `mcpServers`, build it and add:
//!
//! ```json
//! {
//!   "mcpServers": {
//!     "example": { "command": "target/debug/examples/mcp_server", "args": ["--stdio"] }
//!   }
//! }
//! ```
//!
//! The tool `index` reports its progress and emits what it has, and is limited to 2 s: the client
//! receives the partial result. At most two calls run at once. On ctrl-c over HTTP, running calls
//! have 5 s. Without arguments the run exits with 1 if a result is not the expected one.

#![expect(clippy::print_stdout, reason = "an example prints its results")]

use std::time::Duration;

use rmcp::model::{CallToolRequestParams, CallToolResult};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::TcpListener;
use toolbooth::{
    BoxError, CallContext, ConcurrencyLimitLayer, PartialResultLayer, ShutdownLayer, TimeoutLayer,
    ToolAnnotations, ToolSpec, Toolbox, tool_fn,
};
use toolbooth_mcp::{HttpOptions, McpServer};
use tower::ServiceBuilder;

#[derive(Deserialize, JsonSchema)]
struct Add {
    a: i64,
    b: i64,
}

#[derive(Serialize, JsonSchema)]
struct Sum {
    sum: i64,
}

#[derive(Deserialize, JsonSchema)]
struct Index {
    /// The number of files to read.
    files: u64,
}

async fn add(args: Add) -> Result<Sum, BoxError> {
    let sum = args.a.checked_add(args.b).ok_or("the sum is too large")?;
    Ok(Sum { sum })
}

async fn index(call: CallContext, args: Index) -> Result<String, BoxError> {
    for file in 1..=args.files {
        tokio::time::sleep(Duration::from_millis(300)).await;
        call.progress(file, args.files, format!("read file {file}"));
        call.emit(format!("file {file}: 12 symbols"));
    }
    Ok(format!("{} files", args.files))
}

fn toolbox() -> Result<Toolbox, BoxError> {
    let read_only = ToolAnnotations::new().with_read_only(true);
    let add_spec = ToolSpec::of::<Add>("add")
        .with_description("Adds two numbers")
        .with_output_of::<Sum>()
        .with_annotations(read_only);
    let index_spec = ToolSpec::of::<Index>("index")
        .with_description("Indexes files")
        .with_annotations(read_only);
    let index = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_secs(2)))
        .layer(PartialResultLayer::new())
        .service(tool_fn("index", index));
    Ok(Toolbox::builder()
        .tool(add_spec, tool_fn("add", add))
        .tool(index_spec, index)
        .layer(ConcurrencyLimitLayer::new(2))
        .with_validated_arguments()
        .build()?)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let toolbox = toolbox()?;
    let shutdown = ShutdownLayer::new();
    let service = ServiceBuilder::new()
        .layer(shutdown.clone())
        .service(toolbox.clone());
    let server = McpServer::with_service(toolbox, service).with_name("example");
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("--stdio") => {
            server.serve_stdio().await?.waiting().await?;
            Ok(())
        }
        Some("--http") => {
            let port = args.next().map_or(Ok(8000), |port| port.parse())?;
            serve_http(server, &shutdown, port).await
        }
        _ => demonstrate(server).await,
    }
}

/// Serves until ctrl-c.
async fn serve_http(
    server: McpServer,
    shutdown: &ShutdownLayer,
    port: u16,
) -> Result<(), BoxError> {
    let service = server.into_http(HttpOptions::new());
    let app = axum::Router::new().nest_service("/mcp", service.clone());
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("http://{}/mcp", listener.local_addr()?);
    let shutdown = shutdown.clone();
    let stop = async move {
        let _ = tokio::signal::ctrl_c().await;
        let five = Duration::from_secs(5);
        println!("{:?}", shutdown.shutdown(five, five).await);
        service.close(); // the streams on which clients wait for notifications
    };
    axum::serve(listener, app)
        .with_graceful_shutdown(stop)
        .await?;
    Ok(())
}

/// Calls the tools as a client.
async fn demonstrate(server: McpServer) -> Result<(), BoxError> {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    tokio::spawn(async move {
        let running = rmcp::service::serve_server(server, ours).await?;
        running.waiting().await?;
        Ok::<_, BoxError>(())
    });
    let client = rmcp::service::serve_client((), theirs).await?;
    for tool in client.list_all_tools().await? {
        println!("{}: {}", tool.name, tool.description.unwrap_or_default());
    }
    let call = async |name: &'static str, args: serde_json::Value| {
        let args = args.as_object().cloned().unwrap_or_default();
        let params = CallToolRequestParams::new(name).with_arguments(args);
        let result: CallToolResult = client.call_tool(params).await?;
        println!("\n{name}:");
        for block in &result.content {
            println!("  {}", block.as_text().map_or("-", |block| &block.text));
        }
        Ok::<_, BoxError>(result)
    };
    let sum = call("add", json!({ "a": 2, "b": 3 })).await?;
    assert_eq!(sum.structured_content, Some(json!({ "sum": 5 })));
    let wrong = call("add", json!({ "a": "two", "b": 3 })).await?;
    assert_eq!(wrong.is_error, Some(true));
    // 20 files take 6 s, and the limit is 2 s.
    let partial = call("index", json!({ "files": 20 })).await?;
    assert_eq!((partial.is_error, partial.content.len()), (Some(true), 7));
    client.cancel().await?;
    Ok(())
}
