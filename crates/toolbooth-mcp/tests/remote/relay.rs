//! A server whose tools are those of another server.

use rmcp::ServiceExt as _;
use rmcp::model::CallToolRequestParams;
use serde_json::{Value, json};
use toolbooth::{BoxError, Toolbox};
use toolbooth_mcp::McpServer;

use crate::program;

#[tokio::test]
async fn a_relay_returns_the_same_result() -> Result<(), BoxError> {
    let upstream = program("new").connect().await?;
    let toolbox = Toolbox::builder().build()?;
    let _installed = upstream.install(&toolbox)?;
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let served = McpServer::new(toolbox).serve(ours);
    let (served, client) = tokio::join!(served, ().serve(theirs));
    let (_served, client) = (served?, client?);
    let annotations = json!({ "audience": ["user"], "priority": 0.5 });
    for result in [
        json!({ "content": [{ "type": "text", "text": "hi", "annotations": annotations }] }),
        json!({ "content": [{ "type": "text", "text": "no" }], "isError": true }),
        json!({
            "content": [
                { "type": "image", "data": "iVBORw==", "mimeType": "image/png" },
                { "type": "audio", "data": "AAAA", "mimeType": "audio/wav", "_meta": { "a": 1 } },
                { "type": "resource", "resource": { "uri": "file:///a", "text": "x" } },
                { "type": "resource", "resource": { "uri": "file:///b", "blob": "AAAA" } },
                { "type": "resource_link", "uri": "file:///a", "name": "a", "size": 7 },
            ],
            "_meta": { "vendor/key": [1, { "b": null }] },
        }),
        json!({
            "content": [{ "type": "text", "text": "{ \"b\": 1, \"a\": [ ] }" }],
            "structuredContent": { "b": 1, "a": [] },
        }),
        json!({ "content": [], "structuredContent": { "n": 1 }, "isError": true }),
        json!({ "content": [] }),
    ] {
        let mut params = CallToolRequestParams::new("raw");
        params.arguments = result.as_object().cloned();
        let relayed = serde_json::to_value(client.call_tool(params).await?)?;
        for key in ["content", "structuredContent", "_meta"] {
            assert_eq!(relayed[key], result[key], "{key}");
        }
        assert_eq!(relayed["isError"] == true, result["isError"] == true);
    }
    let listed = client.list_all_tools().await?;
    let echo = listed
        .iter()
        .find(|tool| tool.name == "echo")
        .ok_or("a tool")?;
    let hints = serde_json::to_value(&echo.annotations)?;
    assert_eq!(
        hints,
        json!({ "readOnlyHint": true }),
        "as the server has stated"
    );
    let _: Value = hints;
    Ok(())
}
