//! The list of tools.

use rmcp::model::{ErrorCode, PaginatedRequestParams};
use rmcp::service::ServiceError;
use serde_json::json;
use toolbooth::{BoxError, ToolAnnotations, ToolSpec, Toolbox, tool_fn};
use toolbooth_mcp::McpServer;

use crate::support::{GENERATIONS, Generation, connect};

fn toolbox(names: &[&str]) -> Result<Toolbox, BoxError> {
    let nothing = async |_: ()| Ok::<_, BoxError>(());
    let tools = names.iter().fold(Toolbox::builder(), |builder, name| {
        builder.tool(ToolSpec::new(*name), tool_fn("nothing", nothing))
    });
    Ok(tools.build()?)
}

#[tokio::test(start_paused = true)]
async fn a_tool_is_listed_with_its_schemas_and_annotations() -> Result<(), BoxError> {
    let schema = json!({ "type": "object", "properties": { "q": { "type": "string" } } });
    let spec = ToolSpec::new("search")
        .with_title("Search")
        .with_description("Finds files")
        .with_input_schema(schema.clone())
        .with_output_schema(json!({ "type": "object" }))
        .with_annotations(ToolAnnotations::new().with_read_only(true));
    let search = tool_fn("search", async |_: ()| Ok::<_, BoxError>(()));
    let toolbox = Toolbox::builder().tool(spec, search).build()?;
    let server = McpServer::new(toolbox)
        .with_name("files")
        .with_version("1.2.3")
        .with_instructions("Search first.");
    for generation in GENERATIONS {
        let client = connect(server.clone(), (), generation).await;
        let tools = client.list_tools(None).await?;
        let expected = json!([{
            "name": "search",
            "title": "Search",
            "description": "Finds files",
            "inputSchema": schema,
            "outputSchema": { "type": "object" },
            "annotations": { "readOnlyHint": true },
        }]);
        assert_eq!(serde_json::to_value(tools.tools)?, expected);
        assert_eq!(tools.next_cursor, None);
        let info = client.peer_info().ok_or("the server has said who it is")?;
        let tools = json!({ "listChanged": true });
        assert_eq!(serde_json::to_value(&info.capabilities)?["tools"], tools);
        assert_eq!(info.instructions.as_deref(), Some("Search first."));
        client.cancel().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_cursor_stays_valid_when_the_list_changes() -> Result<(), BoxError> {
    let toolbox = toolbox(&["a", "b", "c", "d", "e"])?;
    let server = McpServer::new(toolbox.clone()).with_page_size(2);
    let client = connect(server, (), Generation::Sessions).await;
    let mut names = Vec::new();
    let mut cursor = None;
    for _ in 0..2 {
        let request = PaginatedRequestParams::default().with_cursor(cursor);
        let page = client.list_tools(Some(request)).await?;
        names.extend(page.tools.into_iter().map(|tool| tool.name.into_owned()));
        cursor = page.next_cursor;
        // The last one of the first page, and the first one of the second.
        toolbox.remove("b");
        toolbox.remove("c");
    }
    assert_eq!((names.join(""), cursor), ("abde".to_owned(), None));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_cursor_of_another_server_is_a_protocol_error() -> Result<(), BoxError> {
    let client = connect(McpServer::new(toolbox(&["a"])?), (), Generation::Sessions).await;
    for cursor in ["", "1", "AA", "AWEK=", "é", &"A".repeat(10_000)] {
        let request = PaginatedRequestParams::default().with_cursor(Some(cursor.to_owned()));
        let error = client.list_tools(Some(request)).await.expect_err(cursor);
        let ServiceError::McpError(error) = error else {
            return Err(error.into());
        };
        assert_eq!(error.code, ErrorCode::INVALID_PARAMS, "{cursor}");
    }
    Ok(())
}
