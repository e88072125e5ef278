//! Notifications of progress.

use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use toolbooth::{
    BoxError, CallContext, ConcurrencyLimitLayer, Content, ToolOutput, Toolbox, tool_fn,
};
use toolbooth_mcp::{ITEMS_META_KEY, McpServer};
use tower::ServiceBuilder;

use crate::raw::Raw;
use crate::support::{GENERATIONS, Generation};

const STEP: Duration = Duration::from_millis(10);

fn token() -> Value {
    json!({ "progressToken": "t" })
}

fn values(notifications: &[Value]) -> Vec<f64> {
    let progress = notifications
        .iter()
        .map(|params| params["progress"].as_f64());
    progress.map(|value| value.unwrap_or(f64::NAN)).collect()
}

#[tokio::test(start_paused = true)]
async fn progress_items_and_heartbeats_are_notified() -> Result<(), BoxError> {
    let tool = tool_fn("busy", async |call: CallContext, _: ()| {
        let wait = || sleep(Duration::from_millis(200));
        call.heartbeat();
        wait().await;
        call.emit("page 1");
        wait().await;
        call.progress(3, 10, "three");
        wait().await;
        call.heartbeat();
        wait().await;
        call.snapshot("x".repeat(1_000));
        wait().await;
        Ok::<_, BoxError>("done")
    });
    let server = McpServer::new(Toolbox::builder().tool("busy", tool).build()?);
    for generation in GENERATIONS {
        let mut client = Raw::connect(server.clone(), generation).await;
        client.call(1, "busy", token()).await;
        let (notifications, response) = client.until_response().await;
        let items = json!({ ITEMS_META_KEY: [{ "type": "text", "text": "page 1" }] });
        let snapshot = "x".repeat(200);
        let expected = json!([
            { "progressToken": "t", "progress": 1.0 },
            { "progressToken": "t", "progress": 2.0, "message": "page 1", "_meta": items },
            { "progressToken": "t", "progress": 3.0, "total": 10.0, "message": "three" },
            { "progressToken": "t", "progress": 3.5, "total": 10.0 },
            {
                "progressToken": "t", "progress": 3.0 + 2.0 / 3.0, "total": 10.0,
                "message": snapshot,
            },
        ]);
        assert_eq!(Value::from(notifications), expected);
        assert_eq!(response["result"]["content"][0]["text"], "done");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn progress_is_rate_limited_and_the_last_is_sent_before_the_response() -> Result<(), BoxError>
{
    let tool = tool_fn("count", async |call: CallContext, _: ()| {
        for step in 1..=50 {
            call.progress(step, 50, None);
            sleep(STEP).await;
        }
        Ok::<_, BoxError>("done")
    });
    let server = McpServer::new(Toolbox::builder().tool("count", tool).build()?);
    let mut client = Raw::connect(server, Generation::Sessions).await;
    client.call(1, "count", token()).await;
    let (mut notifications, mut times) = (Vec::new(), Vec::new());
    loop {
        let mut message = client.receive().await;
        if message.get("id").is_some() {
            break;
        }
        notifications.push(message["params"].take());
        times.push(Instant::now());
    }
    let values = values(&notifications);
    assert!(
        values.windows(2).all(|pair| pair[0] < pair[1]),
        "{values:?}"
    );
    assert_eq!((values[0], values[values.len() - 1]), (1.0, 50.0));
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let (last, others) = gaps.split_last().ok_or("several")?;
    assert_eq!(others, [Duration::from_millis(100); 4], "{last:?}");
    // None follows the response.
    assert!(
        timeout(Duration::from_secs(60), client.receive())
            .await
            .is_err()
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn nothing_is_notified_without_a_token() -> Result<(), BoxError> {
    let tool = tool_fn("busy", async |call: CallContext, _: ()| {
        call.progress(1, 2, "one");
        sleep(Duration::from_secs(1)).await;
        Ok::<_, BoxError>("done")
    });
    let server = McpServer::new(Toolbox::builder().tool("busy", tool).build()?);
    for generation in GENERATIONS {
        let mut client = Raw::connect(server.clone(), generation).await;
        client.call(1, "busy", json!({})).await;
        assert_eq!(client.receive().await["id"], 1);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_streaming_response_is_progress_and_one_result() -> Result<(), BoxError> {
    let tool = tool_fn("stream", async |_: ()| {
        let items = futures_util::stream::iter(1..=3).then(|item| async move {
            sleep(Duration::from_millis(150)).await;
            Ok::<_, BoxError>(Content::from(format!("item {item}")))
        });
        Ok::<_, BoxError>(ToolOutput::stream(Box::pin(items)))
    });
    let server = McpServer::new(Toolbox::builder().tool("stream", tool).build()?);
    let mut client = Raw::connect(server, Generation::Stateless).await;
    client.call(1, "stream", token()).await;
    let (notifications, response) = client.until_response().await;
    assert_eq!(values(&notifications), [1.0, 2.0, 3.0]);
    let messages: Vec<_> = notifications
        .iter()
        .map(|params| &params["message"])
        .collect();
    assert_eq!(messages, ["item 1", "item 2", "item 3"]);
    let content = &response["result"]["content"];
    assert_eq!(content.as_array().map(Vec::len), Some(3));
    assert_eq!(content[2]["text"], "item 3");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_delays_no_call() -> Result<(), BoxError> {
    let noisy = tool_fn("noisy", async |call: CallContext, _: ()| {
        for step in 0..100 {
            call.progress(step, None, "x".repeat(150));
            sleep(STEP).await;
        }
        Ok::<_, BoxError>("done")
    });
    let begun = Instant::now();
    let second = tool_fn("second", move |_: ()| async move {
        let millis = u64::try_from(begun.elapsed().as_millis());
        Ok::<_, BoxError>(ToolOutput::json(json!(millis?)))
    });
    let one = ConcurrencyLimitLayer::new(1);
    let stack = |tool| ServiceBuilder::new().layer(one.clone()).service(tool);
    let toolbox = Toolbox::builder()
        .tool("noisy", stack(toolbooth::toolbox::ToolService::new(noisy)))
        .tool(
            "second",
            stack(toolbooth::toolbox::ToolService::new(second)),
        )
        .build()?;
    let mut client = Raw::with_buffer(McpServer::new(toolbox), Generation::Sessions, 600).await;
    client.call(1, "noisy", token()).await;
    client.call(2, "second", json!({})).await;
    // The permit of the first call is released when the tool ends, whatever the client reads.
    sleep(Duration::from_secs(3)).await;
    let mut texts = Vec::new();
    while texts.len() < 2 {
        let (_, response) = client.until_response().await;
        texts.push(response["result"]["content"][0]["text"].clone());
    }
    assert_eq!(texts, ["1000", "done"]);
    Ok(())
}
