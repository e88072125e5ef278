//! Calls and their ends.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use toolbooth::{BoxError, ToolCall};
use toolbooth_mcp::{RemoteServer, RemoteTool};
use tower::ServiceExt as _;

use crate::upstream::{Upstream, serve};

fn tool(server: &RemoteServer, name: &str) -> RemoteTool {
    let mut tools = server.tools().into_iter();
    let found = tools.find(|(spec, _)| spec.name() == name);
    found.expect("a tool of this name").1
}

#[tokio::test]
async fn a_call_over_http_returns_the_result_and_a_dropped_one_is_cancelled() -> Result<(), BoxError>
{
    let upstream = Upstream::default();
    let seen = upstream.seen.clone();
    let ct = CancellationToken::new();
    let url = serve(upstream, ct.clone()).await;
    let server = RemoteServer::http(url).with_prefix("up_").connect().await?;
    let names: Vec<_> = server
        .tools()
        .into_iter()
        .map(|(spec, _)| spec.name().to_owned())
        .collect();
    assert_eq!(names, ["up_echo", "up_hang"]);

    let call = ToolCall::new("up_echo", json!({ "n": 1 }));
    let output = tool(&server, "up_echo")
        .oneshot(call)
        .await?
        .collect()
        .await?;
    assert_eq!(output.text(), r#"{"n":1}"#);

    let hang = tool(&server, "up_hang").oneshot(ToolCall::new("up_hang", json!({})));
    assert!(timeout(Duration::from_millis(200), hang).await.is_err());
    let cancelled = timeout(Duration::from_secs(10), async {
        while seen.cancelled.load(Ordering::SeqCst) == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    });
    cancelled.await?;
    ct.cancel();
    Ok(())
}
