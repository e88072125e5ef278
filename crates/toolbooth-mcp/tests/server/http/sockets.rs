//! Clients over real connections: one that is killed, and that of rmcp.
//!
//! They wait for events. The limit is only for a test that would wait for ever.

use std::time::Duration;

use rmcp::ClientHandler;
use rmcp::model::ProtocolVersion;
use rmcp::service::{ClientLifecycleMode, serve_client_with_lifecycle};
use rmcp::transport::StreamableHttpClientTransport;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use toolbooth::{BoxError, Toolbox, tool_fn};
use toolbooth_mcp::{HttpOptions, McpServer};

use super::client::{call, initialize, stateless_call};
use crate::support::{GENERATIONS, Generation, Noted, hanging, json_of, params};

const LIMIT: Duration = Duration::from_secs(60);

/// Serves a tool that hangs and one that responds. Returns the address.
async fn serve() -> Result<(String, mpsc::UnboundedReceiver<Noted>), BoxError> {
    let (hang, notes) = hanging();
    let echo = tool_fn("echo", async |args: Value| Ok::<_, BoxError>(args));
    let toolbox = Toolbox::builder()
        .tool("hang", hang)
        .tool("echo", echo)
        .build()?;
    let options = HttpOptions::new().with_keep_alive(Duration::from_millis(50));
    let service = McpServer::new(toolbox).into_http(options);
    let router = axum::Router::new().nest_service("/mcp", service);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok((address, notes))
}

/// Sends a request on a connection of its own.
async fn post(address: &str, headers: &str, body: &Value) -> Result<TcpStream, BoxError> {
    let mut connection = TcpStream::connect(address).await?;
    let body = body.to_string();
    let request = format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    );
    connection.write_all(request.as_bytes()).await?;
    Ok(connection)
}

async fn response_head(connection: &mut TcpStream) -> Result<String, BoxError> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await?);
    }
    Ok(String::from_utf8(head)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_killed_ends_its_call() -> Result<(), BoxError> {
    let (address, mut notes) = serve().await?;
    for generation in GENERATIONS {
        let connection = match generation {
            Generation::Sessions => {
                let mut begun = post(&address, "", &initialize()).await?;
                let head = response_head(&mut begun).await?;
                let session = head
                    .lines()
                    .find(|line| line.starts_with("mcp-session-id"))
                    .ok_or("a session")?;
                let headers = format!("{session}\r\nmcp-protocol-version: 2025-11-25\r\n");
                let initialized =
                    json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
                let mut accepted = post(&address, &headers, &initialized).await?;
                assert!(response_head(&mut accepted).await?.contains(" 202 "));
                post(&address, &headers, &call(1, "hang")).await?
            }
            Generation::Stateless => {
                let headers = "mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\n\
                               mcp-name: hang\r\n";
                post(&address, headers, &stateless_call(1, "hang")).await?
            }
        };
        let started = timeout(LIMIT, notes.recv()).await?;
        assert_eq!(started, Some(Noted::Started), "{generation:?}");
        drop(connection);
        let dropped = timeout(LIMIT, notes.recv()).await?;
        assert!(matches!(dropped, Some(Noted::Dropped(_))), "{generation:?}");
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Quiet;

impl ClientHandler for Quiet {}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_of_rmcp_calls_and_cancels() -> Result<(), BoxError> {
    let (address, mut notes) = serve().await?;
    for generation in GENERATIONS {
        let mode = match generation {
            Generation::Sessions => ClientLifecycleMode::Initialize,
            Generation::Stateless => ClientLifecycleMode::Discover {
                preferred_versions: vec![ProtocolVersion::V_2026_07_28],
            },
        };
        let transport = StreamableHttpClientTransport::from_uri(format!("http://{address}/mcp"));
        let client = serve_client_with_lifecycle(Quiet, transport, mode).await?;
        let result = json_of(client.call_tool(params("echo", json!({ "n": 1 }))).await);
        assert_eq!(result["structuredContent"], json!({ "n": 1 }));
        // A call that is dropped, and one whose client goes.
        tokio::select! {
            result = client.call_tool(params("hang", json!({}))) => {
                return Err(format!("{result:?}").into());
            }
            note = notes.recv() => assert_eq!(note, Some(Noted::Started)),
        }
        let dropped = timeout(LIMIT, notes.recv()).await?;
        assert!(matches!(dropped, Some(Noted::Dropped(_))), "{generation:?}");
        let peer = client.peer().clone();
        let call = tokio::spawn(async move { peer.call_tool(params("hang", json!({}))).await });
        assert_eq!(timeout(LIMIT, notes.recv()).await?, Some(Noted::Started));
        client.cancel().await?;
        let dropped = timeout(LIMIT, notes.recv()).await?;
        assert!(matches!(dropped, Some(Noted::Dropped(_))), "{generation:?}");
        assert!(call.await?.is_err());
    }
    Ok(())
}
