//! The list of tools.

use rmcp::model::{ErrorCode, PaginatedRequestParams};
use rmcp::service::ServiceError;
use serde_json::json;
use toolbooth::{BoxError, ToolAnnotations, ToolSpec, Toolbox, tool_fn};
use toolbooth_mcp::McpServer;

use crate::raw::Raw;
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

#[tokio::test(start_paused = true)]
async fn every_client_is_notified_of_a_change() -> Result<(), BoxError> {
    let toolbox = toolbox(&["a"])?;
    let server = McpServer::new(toolbox.clone());
    let mut first = Raw::connect(server.clone(), Generation::Sessions).await;
    let mut second = Raw::connect(server.clone(), Generation::Sessions).await;
    let mut subscriber = Raw::connect(server.clone(), Generation::Stateless).await;
    let wanted = json!({ "notifications": { "toolsListChanged": true } });
    subscriber.request(1, "subscriptions/listen", wanted).await;
    let accepted = subscriber.receive().await;
    assert_eq!(
        accepted["method"],
        "notifications/subscriptions/acknowledged"
    );
    // One that is gone, and one that does not read.
    drop(Raw::connect(server.clone(), Generation::Sessions).await);
    let _deaf = Raw::with_buffer(server, Generation::Sessions, 1_000).await;
    // The last message of each handshake has no response.
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    for name in ["b", "c"] {
        toolbox.insert(
            name,
            tool_fn("nothing", async |_: ()| Ok::<_, BoxError>(())),
        )?;
        for client in [&mut first, &mut second, &mut subscriber] {
            let changed = client.receive().await;
            assert_eq!(changed["method"], "notifications/tools/list_changed");
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn no_task_is_left_of_a_server_whose_clients_are_gone() -> Result<(), BoxError> {
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = tasks();
    // It outlives the server.
    let toolbox = toolbox(&["a"])?;
    let server = McpServer::new(toolbox.clone());
    let first = Raw::connect(server.clone(), Generation::Sessions).await;
    let mut subscriber = Raw::connect(server.clone(), Generation::Stateless).await;
    let wanted = json!({ "notifications": { "toolsListChanged": true } });
    subscriber.request(1, "subscriptions/listen", wanted).await;
    subscriber.receive().await;
    assert!(tasks() > before);
    drop((first, subscriber, server));
    tokio::time::sleep(std::time::Duration::from_secs(30)).await;
    assert_eq!(tasks(), before);
    assert_eq!(toolbox.len(), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_client_that_initializes_again_is_notified_once() -> Result<(), BoxError> {
    let toolbox = toolbox(&["a"])?;
    let mut client = Raw::connect(McpServer::new(toolbox.clone()), Generation::Sessions).await;
    for id in 1..4 {
        let params = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": { "name": "test", "version": "1" },
        });
        client.request(id, "initialize", params).await;
        assert_eq!(client.receive().await["id"], id);
        client.notify("notifications/initialized", json!({})).await;
    }
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    toolbox.remove("a");
    let changed = client.receive().await;
    assert_eq!(changed["method"], "notifications/tools/list_changed");
    let more = tokio::time::timeout(std::time::Duration::from_secs(60), client.receive()).await;
    assert!(more.is_err(), "{more:?}");
    Ok(())
}
