//! What travels into a call: tenant, trace context and deadline.

use std::time::Duration;

use http::HeaderValue;
use http::request::Parts;
use serde_json::{Value, json};
use toolbooth::{BoxError, CallContext, Name, ToolOutput, Toolbox, tool_fn};
use toolbooth_core::TraceContext;
use toolbooth_mcp::{HttpOptions, McpServer, TIMEOUT_META_KEY};

use crate::http::client::Client;
use crate::raw::Raw;
use crate::support::GENERATIONS;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A server whose tool returns what its call has.
fn server() -> Result<McpServer, BoxError> {
    let tool = tool_fn("context", async |call: CallContext, _: ()| {
        let trace = call.extension::<TraceContext>();
        Ok::<_, BoxError>(ToolOutput::json(json!({
            "id": call.id().as_str().starts_with("call-"),
            "tenant": call.tenant(),
            "remaining": call.remaining().map(|remaining| remaining.as_secs()),
            "parent": trace.map(ToString::to_string),
            "state": trace.map(TraceContext::tracestate),
        })))
    });
    let server = McpServer::new(Toolbox::builder().tool("context", tool).build()?);
    Ok(server.with_tenant(|context| {
        let header = |parts: &Parts| parts.headers.get("x-user")?.to_str().ok().map(Name::from);
        let of_http = context.extensions.get::<Parts>().and_then(header);
        of_http.or_else(|| context.meta.0.0.get("user")?.as_str().map(Name::from))
    }))
}

#[tokio::test(start_paused = true)]
async fn tenant_trace_and_deadline_are_those_of_the_request() -> Result<(), BoxError> {
    for generation in GENERATIONS {
        let mut client = Raw::connect(server()?, generation).await;
        let meta = json!({
            "user": "acme", "traceparent": PARENT, "tracestate": "a=1", TIMEOUT_META_KEY: 5_000,
        });
        client.call(1, "context", meta).await;
        let expected = json!({
            "id": true, "tenant": "acme", "remaining": 5, "parent": PARENT, "state": "a=1",
        });
        assert_eq!(
            client.receive().await["result"]["structuredContent"],
            expected
        );
        client
            .call(2, "context", json!({ TIMEOUT_META_KEY: u64::MAX }))
            .await;
        let day = Duration::from_secs(24 * 60 * 60).as_secs();
        let expected = json!({
            "id": true, "tenant": null, "remaining": day, "parent": null, "state": null,
        });
        assert_eq!(
            client.receive().await["result"]["structuredContent"],
            expected
        );
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_malformed_request_is_a_protocol_error() -> Result<(), BoxError> {
    for generation in GENERATIONS {
        let mut client = Raw::connect(server()?, generation).await;
        for (id, timeout) in (1..).zip([json!(-1), json!("5s"), json!(1.5), json!(null)]) {
            client
                .call(id, "context", json!({ TIMEOUT_META_KEY: timeout }))
                .await;
            assert_eq!(client.receive().await["error"]["code"], -32602, "{timeout}");
        }
        for (id, params) in (10..).zip([
            json!({ "name": "context", "arguments": [1] }),
            json!({ "name": 1, "arguments": {} }),
            json!({ "arguments": {} }),
        ]) {
            client.request(id, "tools/call", params.clone()).await;
            assert_eq!(client.receive().await["error"]["code"], -32602, "{params}");
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn over_http_they_may_be_in_headers() -> Result<(), BoxError> {
    let service = server()?.into_http(HttpOptions::new());
    let mut client = Client::with_session(&service).await;
    client
        .headers
        .insert("x-user", HeaderValue::from_static("acme"));
    client
        .headers
        .insert("traceparent", HeaderValue::from_static(PARENT));
    let mut events = client.call(1, "context").await;
    let message: Value = events.message().await.ok_or("the result")?;
    let content = &message["result"]["structuredContent"];
    assert_eq!(
        (&content["tenant"], &content["parent"]),
        (&json!("acme"), &json!(PARENT))
    );
    Ok(())
}
