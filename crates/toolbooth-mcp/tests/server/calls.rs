//! Calls and their results.

use std::time::Duration;

use rmcp::model::ErrorCode;
use rmcp::service::ServiceError;
use serde_json::json;
use toolbooth::{
    BoxError, CallContext, Content, PartialResultLayer, TimeoutLayer, ToolError, ToolOutput,
    ToolSpec, Toolbox, tool_fn,
};
use toolbooth_mcp::{ERROR_META_KEY, McpServer};
use tower::ServiceBuilder;

use crate::support::{GENERATIONS, Generation, connect, json_of, params, texts};

#[tokio::test(start_paused = true)]
async fn a_response_is_a_result_with_a_block_for_each_content() -> Result<(), BoxError> {
    let tool = tool_fn("mixed", async |_: ()| {
        let contents = vec![
            "two hits".into(),
            json!([3, 9]).into(),
            Content::data("image/png", vec![1, 2]),
        ];
        Ok::<_, BoxError>(ToolOutput::contents(contents).with_meta("k", 1))
    });
    let server = McpServer::new(Toolbox::builder().tool("mixed", tool).build()?);
    for generation in GENERATIONS {
        let client = connect(server.clone(), (), generation).await;
        let result = json_of(client.call_tool(params("mixed", json!(null))).await);
        let mut expected = json!({
            "content": [
                { "type": "text", "text": "two hits" },
                { "type": "text", "text": "[3,9]" },
                { "type": "image", "data": "AQI=", "mimeType": "image/png" },
            ],
            "isError": false,
            "_meta": { "k": 1 },
        });
        expected["_meta"] = result["_meta"].clone();
        assert_eq!(result, expected);
        assert_eq!(result["_meta"]["k"], 1);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_a_result_with_the_partial_contents_first() -> Result<(), BoxError> {
    let crawl = tool_fn("crawl", async |call: CallContext, _: ()| {
        call.emit("page 1");
        call.emit("page 2");
        std::future::pending::<Result<String, BoxError>>().await
    });
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_secs(30)))
        .layer(PartialResultLayer::new())
        .service(crawl);
    let server = McpServer::new(Toolbox::builder().tool("crawl", stack).build()?);
    for generation in GENERATIONS {
        let client = connect(server.clone(), (), generation).await;
        let result = json_of(client.call_tool(params("crawl", json!({}))).await);
        assert_eq!(result["isError"], true);
        assert_eq!(result.get("structuredContent"), None);
        let expected = [
            "page 1",
            "page 2",
            "The content above is incomplete. The tool \"crawl\" timed out after 30 s. The tool \
             had started, so some of its work may have been done. Try again later, but only if \
             repeating the call does no harm.",
        ];
        assert_eq!(texts(&result), expected);
        let mut report = result["_meta"][ERROR_META_KEY].clone();
        let id = report["call_id"].take();
        assert!(
            id.as_str().is_some_and(|id| id.starts_with("call-")),
            "{id}"
        );
        let expected = json!({
            "kind": "timeout",
            "message": "the call timed out",
            "started": true,
            "retryable": true,
            "tool": "crawl",
            "call_id": null,
            "partial": { "items": 2, "dropped": 0, "delivered": 0 },
        });
        assert_eq!(report, expected);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_unknown_name_is_a_protocol_error_with_the_nearest() -> Result<(), BoxError> {
    let search = tool_fn("search", async |_: ()| Ok::<_, BoxError>(()));
    let server = McpServer::new(Toolbox::builder().tool("search", search).build()?);
    for generation in GENERATIONS {
        let client = connect(server.clone(), (), generation).await;
        let error = client.call_tool(params("serach", json!({}))).await;
        let Err(ServiceError::McpError(error)) = error else {
            return Err(format!("{error:?}").into());
        };
        assert_eq!(error.code, ErrorCode::INVALID_PARAMS);
        let expected = "there is no tool named `serach`, did you mean `search`?";
        assert_eq!(error.message, expected);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_result_without_its_message() -> Result<(), BoxError> {
    let panics = tool_fn("panics", async |_: ()| -> Result<(), ToolError> {
        panic!("no route to postgres://admin:hunter2@db")
    });
    let server = McpServer::new(Toolbox::builder().tool("panics", panics).build()?);
    let client = connect(server, (), Generation::Sessions).await;
    let result = json_of(client.call_tool(params("panics", json!({}))).await);
    assert_eq!(result["_meta"][ERROR_META_KEY]["kind"], "panicked");
    assert_eq!(result["_meta"][ERROR_META_KEY]["tool"], "panics");
    assert!(!result.to_string().contains("hunter2"), "{result}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn structured_content_is_an_object_or_matches_the_schema() -> Result<(), BoxError> {
    let answer = |value: serde_json::Value| {
        tool_fn("answer", move |_: ()| {
            let value = value.clone();
            async move { Ok::<_, BoxError>(ToolOutput::json(value)) }
        })
    };
    let with = |name: &'static str, schema| ToolSpec::new(name).with_output_schema(schema);
    let object = json!({
        "type": "object",
        "properties": { "celsius": { "type": "number" } },
        "required": ["celsius"],
    });
    let toolbox = Toolbox::builder()
        .tool("object", answer(json!({ "n": 1 })))
        .tool("array", answer(json!([1])))
        .tool(
            with("right", object.clone()),
            answer(json!({ "celsius": 22 })),
        )
        .tool(
            with("wrong", object.clone()),
            answer(json!({ "celsius": "secret" })),
        )
        .tool(with("list", json!({ "type": "array" })), answer(json!([1])))
        .tool(
            with("text", object),
            tool_fn("text", async |_: ()| Ok::<_, BoxError>("hi")),
        )
        .build()?;
    let server = McpServer::new(toolbox);
    for generation in GENERATIONS {
        let client = connect(server.clone(), (), generation).await;
        let mut structured = Vec::new();
        for name in ["object", "array", "right", "list"] {
            let result = json_of(client.call_tool(params(name, json!({}))).await);
            assert_eq!(result["isError"], false, "{result}");
            structured.push(result["structuredContent"].clone());
        }
        let list = match generation {
            Generation::Sessions => json!(null),
            Generation::Stateless => json!([1]),
        };
        let expected = [
            json!({ "n": 1 }),
            json!(null),
            json!({ "celsius": 22 }),
            list,
        ];
        assert_eq!(structured, expected);

        let wrong = json_of(client.call_tool(params("wrong", json!({}))).await);
        assert_eq!(wrong["isError"], true);
        assert_eq!(wrong.get("structuredContent"), None);
        let text = texts(&wrong)[0];
        let expected = "Its response does not match its output schema: at `celsius`: ";
        assert!(
            text.contains(expected) && !text.contains("secret"),
            "{text}"
        );
        let text = json_of(client.call_tool(params("text", json!({}))).await);
        assert_eq!(text["isError"], true);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_streaming_response_is_bounded() -> Result<(), BoxError> {
    let endless = tool_fn("endless", async |_: ()| {
        let items = futures_util::stream::repeat_with(|| Ok::<_, BoxError>(Content::from("x")));
        Ok::<_, BoxError>(ToolOutput::stream(items))
    });
    let large = tool_fn("large", async |_: ()| {
        let item = || Ok::<_, BoxError>(Content::from("x".repeat(1 << 20)));
        Ok::<_, BoxError>(ToolOutput::stream(futures_util::stream::repeat_with(item)))
    });
    let toolbox = Toolbox::builder()
        .tool("endless", endless)
        .tool("large", large)
        .build()?;
    let client = connect(McpServer::new(toolbox), (), Generation::Sessions).await;
    for (name, items) in [("endless", 1_024), ("large", 4)] {
        let result = json_of(client.call_tool(params(name, json!({}))).await);
        assert_eq!(result["isError"], true);
        assert_eq!(result["_meta"][ERROR_META_KEY]["partial"]["items"], items);
        let texts = texts(&result);
        assert_eq!(texts.len(), items + 1);
        let last = texts[items];
        assert!(
            last.starts_with("The content above is incomplete."),
            "{last}"
        );
        assert!(
            last.ends_with("The rest of its response is too long for a result."),
            "{last}"
        );
    }
    Ok(())
}
