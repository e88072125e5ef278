//! Bounds, and requests of a server.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::timeout;
use toolbooth::{BoxError, ErrorKind, ToolCall};
use toolbooth_mcp::{RemoteError, RemoteServer};
use tower::ServiceExt as _;

use crate::{LONG, MARK, alive, call, eventually, program, remote, tool};

#[tokio::test]
async fn a_standard_error_that_is_full_does_not_block_the_program() -> Result<(), BoxError> {
    let server = program("writes-errors").connect().await?;
    assert_eq!(
        call(&server, "a", json!({})).await?.text(),
        "after a megabyte"
    );
    let tail = server.stderr_tail();
    assert!(
        tail.len() <= 8 * 1_024 && tail.ends_with("xxx\n"),
        "{}",
        tail.len()
    );
    Ok(())
}

#[tokio::test]
async fn a_server_that_does_not_read_costs_bounded_memory() -> Result<(), BoxError> {
    let server = program("stops-reading").connect().await?;
    let large = json!({ "text": "x".repeat(15 * 1_024 * 1_024) });
    let mut waiting = Vec::new();
    for _ in 0..4 {
        let call = ToolCall::new("a", large.clone());
        waiting.push(tokio::spawn(tool(&server, "a").oneshot(call)));
    }
    eventually("they are in flight", || server.status().in_flight == 4).await;
    let rejected = call(&server, "a", large)
        .await
        .err()
        .ok_or("it is too much")?;
    let source = std::error::Error::source(remote(&rejected)).map(ToString::to_string);
    assert_eq!(
        source.as_deref(),
        Some("the server does not read its input")
    );
    assert!(!rejected.started() && server.status().is_connected);
    timeout(LONG, server.close()).await?;
    for call in waiting {
        let error = timeout(LONG, call).await??.err().ok_or("it was closed")?;
        assert!(matches!(remote(&error), RemoteError::Closed { .. }));
    }
    Ok(())
}

#[tokio::test]
async fn requests_of_a_server_are_declined() -> Result<(), BoxError> {
    let server = program("asks").connect().await?;
    let responses = call(&server, "a", json!({})).await?.text();
    let responses: Value = serde_json::from_str(&responses)?;
    assert_eq!(responses["ping"], json!({}));
    assert_eq!(
        responses["elicitation/create"],
        json!({ "action": "decline" })
    );
    assert_eq!(responses["sampling/createMessage"], json!(-32601));
    assert_eq!(responses["roots/list"], json!({ "roots": [] }));
    assert_eq!(responses["other/request"], json!(-32601));
    Ok(())
}

#[tokio::test]
async fn nothing_is_left_of_an_attempt_to_connect_that_is_dropped() -> Result<(), BoxError> {
    let mark = format!("{}-connecting", std::process::id());
    let connecting = tokio::spawn(program("mute").with_env(MARK, &mark).connect());
    eventually("it runs", || alive(&mark) == 1).await;
    connecting.abort();
    eventually("it has ended", || alive(&mark) == 0).await;
    Ok(())
}

/// Serves the tools `limited`, `busy`, `forbidden` and `moved`, whose calls have these statuses.
async fn statuses(received: Arc<Mutex<Vec<HeaderMap>>>) -> String {
    let respond = async move |headers: HeaderMap, body: String| -> Response {
        received.lock().expect("not poisoned").push(headers);
        let request: Value = serde_json::from_str(&body).expect("JSON");
        let tool = |name: &str| json!({ "name": name, "inputSchema": { "type": "object" } });
        let result = match request["method"].as_str().unwrap_or_default() {
            "initialize" => json!({
                "protocolVersion": "2025-11-25",
                "capabilities": { "tools": {} },
                "serverInfo": { "name": "statuses", "version": "1" },
            }),
            "tools/list" => {
                let tools = ["limited", "busy", "forbidden", "moved"].map(tool);
                json!({ "tools": tools })
            }
            "tools/call" => {
                let after = [("retry-after", "7")];
                return match request["params"]["name"].as_str().unwrap_or_default() {
                    "limited" => (StatusCode::TOO_MANY_REQUESTS, after).into_response(),
                    "busy" => (StatusCode::SERVICE_UNAVAILABLE, after).into_response(),
                    "moved" => Redirect::temporary("http://127.0.0.1:1/mcp").into_response(),
                    _ => {
                        (StatusCode::UNAUTHORIZED, [("www-authenticate", "Bearer")]).into_response()
                    }
                };
            }
            _ if request["id"].is_null() => return StatusCode::ACCEPTED.into_response(),
            _ => {
                let error = json!({ "code": -32601, "message": "unknown method" });
                let error = json!({ "jsonrpc": "2.0", "id": request["id"], "error": error });
                return ([("content-type", "application/json")], error.to_string()).into_response();
            }
        };
        let result = json!({ "jsonrpc": "2.0", "id": request["id"], "result": result });
        ([("content-type", "application/json")], result.to_string()).into_response()
    };
    let router = Router::new().route("/mcp", post(respond));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/mcp")
}

#[tokio::test]
async fn statuses_of_http_keep_their_meaning() -> Result<(), BoxError> {
    let received = Arc::default();
    let url = statuses(Arc::clone(&received)).await;
    let server = RemoteServer::http(url)
        .with_bearer("hunter2")
        .with_header("x-key", "value")
        .connect()
        .await?;
    let limited = call(&server, "limited", json!({}))
        .await
        .err()
        .ok_or("429")?;
    assert_eq!(
        (limited.kind(), limited.started()),
        (ErrorKind::RateLimited, false)
    );
    assert_eq!(limited.retry_after(), Some(Duration::from_secs(7)));
    let busy = call(&server, "busy", json!({})).await.err().ok_or("503")?;
    assert_eq!(
        (busy.kind(), busy.started()),
        (ErrorKind::CircuitOpen, true)
    );
    assert_eq!(busy.retry_after(), Some(Duration::from_secs(7)));
    let forbidden = call(&server, "forbidden", json!({}))
        .await
        .err()
        .ok_or("401")?;
    assert!(
        matches!(remote(&forbidden), RemoteError::Unauthorized { .. }),
        "{forbidden:?}"
    );
    let moved = call(&server, "moved", json!({})).await.err().ok_or("307")?;
    assert!(
        !matches!(remote(&moved), RemoteError::Unreachable { .. }),
        "it is not followed"
    );
    assert!(server.status().is_connected, "{:?}", server.status());
    let received = received.lock().expect("not poisoned");
    assert!(received.len() >= 7);
    for headers in received.iter() {
        assert_eq!(headers["authorization"], "Bearer hunter2");
        assert_eq!(headers["x-key"], "value");
    }
    Ok(())
}
