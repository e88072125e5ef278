//! The list of tools, and toolboxes that follow it.

use serde_json::json;
use tokio_util::sync::CancellationToken;
use toolbooth::{BoxError, ToolCall, Toolbox, tool_fn};
use toolbooth_mcp::RemoteServer;
use tower::ServiceExt as _;

use crate::upstream::{Upstream, serve};
use crate::{LONG, call, eventually, program};

#[tokio::test]
async fn a_toolbox_follows_the_list_of_the_server() -> Result<(), BoxError> {
    let ct = CancellationToken::new();
    let new = serve(Upstream::default(), ct.clone()).await;
    let old = serve(Upstream::old(), ct.clone()).await;
    for builder in [
        program("new"),
        program("old"),
        RemoteServer::http(new),
        RemoteServer::http(old),
    ] {
        let server = builder.with_prefix("up_").connect().await?;
        let toolbox = Toolbox::builder()
            .tool(
                "own",
                tool_fn("own", async |_: ()| Ok::<_, BoxError>("own")),
            )
            .build()?;
        let installed = server.install(&toolbox)?;
        assert_eq!((toolbox.len(), installed.names().len()), (10, 9));
        let echo = toolbox
            .clone()
            .oneshot(ToolCall::new("up_echo", json!({})))
            .await?;
        assert_eq!(echo.collect().await?.text(), "{}");

        call(&server, "up_toggle", json!({})).await?;
        eventually("it is inserted", || toolbox.contains("up_extra")).await;
        call(&server, "up_toggle", json!({})).await?;
        eventually("it is removed", || !toolbox.contains("up_extra")).await;

        assert!(server.install(&toolbox).is_err(), "the names are in use");
        installed.uninstall();
        assert_eq!(toolbox.names(), ["own"]);
    }
    ct.cancel();
    Ok(())
}

#[tokio::test]
async fn the_list_is_read_again_after_a_reconnect() -> Result<(), BoxError> {
    let server = program("new").connect().await?;
    let toolbox = Toolbox::builder().build()?;
    let installed = server.install(&toolbox)?;
    call(&server, "toggle", json!({})).await?;
    eventually("it is inserted", || toolbox.contains("extra")).await;
    call(&server, "die", json!({}))
        .await
        .err()
        .ok_or("it dies")?;
    // The new program has the list of the beginning.
    call(&server, "echo", json!({})).await?;
    eventually("it is removed", || !toolbox.contains("extra")).await;
    assert_eq!(installed.names().len(), 9);
    Ok(())
}

#[tokio::test]
async fn annotations_are_shown_and_count_only_if_they_are_trusted() -> Result<(), BoxError> {
    for trusts in [false, true] {
        let server = program("new")
            .with_trust_annotations(trusts)
            .connect()
            .await?;
        let toolbox = Toolbox::builder().build()?;
        let _installed = server.install(&toolbox)?;
        let echo = toolbox.get("echo").ok_or("a tool")?;
        assert!(echo.spec().hints().is_read_only());
        assert_eq!(
            serde_json::to_value(echo.spec())?["annotations"]["readOnlyHint"],
            true
        );
        assert_eq!(echo.spec().annotations().is_idempotent(), trusts);
    }
    Ok(())
}

#[tokio::test]
async fn dropping_what_was_installed_ends_the_updates_alone() -> Result<(), BoxError> {
    let server = program("new").connect().await?;
    let toolbox = Toolbox::builder().build()?;
    drop(server.install(&toolbox)?);
    call(&server, "toggle", json!({})).await?;
    eventually("the list has changed", || server.status().tools == 10).await;
    assert_eq!(toolbox.len(), 9);
    let echo = tokio::time::timeout(LONG, toolbox.oneshot(ToolCall::new("echo", json!({}))));
    assert_eq!(echo.await??.collect().await?.text(), "{}");
    Ok(())
}
