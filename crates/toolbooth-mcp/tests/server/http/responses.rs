//! A response is one JSON object, or a stream of events.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use toolbooth::{BoxError, CallContext, Toolbox, tool_fn};
use toolbooth_mcp::{HttpOptions, HttpService, McpServer};

use super::client::{Client, Events, call, call_with_progress, request, stateless_call};
use crate::support::{Noted, hanging};

const STEP: Duration = Duration::from_millis(200);

/// Serves a tool that responds after 200 ms, and one that reports progress every 200 ms before it
/// responds.
fn serve() -> Result<HttpService, BoxError> {
    let quick = tool_fn("quick", async |_: ()| {
        sleep(STEP).await;
        Ok::<_, BoxError>("done")
    });
    let steps = tool_fn("steps", async |call: CallContext, _: ()| {
        for step in 1..=4 {
            sleep(STEP).await;
            call.progress(step, 4, "step");
        }
        sleep(STEP).await;
        Ok::<_, BoxError>("done")
    });
    let toolbox = Toolbox::builder()
        .tool("quick", quick)
        .tool("steps", steps)
        .build()?;
    Ok(McpServer::new(toolbox).into_http(HttpOptions::new()))
}

/// Returns the progress that a message reports, or the id of the request that it responds to.
fn summary(message: &Value) -> Value {
    match &message["params"]["progress"] {
        Value::Null => json!({ "id": message["id"] }),
        progress => progress.clone(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_without_progress_is_one_json_object() -> Result<(), BoxError> {
    let service = serve()?;
    let session = Client::with_session(&service).await;
    let stateless = Client::stateless(&service, "quick");
    for (client, message) in [
        (&session, call(1, "quick")),
        (&session, call_with_progress(1, "quick")),
        (&session, request(1, "ping", &json!({}))),
        (&session, request(1, "tools/list", &json!({}))),
        (&session, request(1, "tools/call", &json!({}))),
        (&session, request(1, "unknown", &json!({}))),
        (&stateless, stateless_call(1, "quick")),
    ] {
        let response = client.post(&message).await;
        assert_eq!(response.status(), 200, "{message}");
        let mut events = Events::of(response);
        assert!(events.is_json, "{message}");
        let response = events.message().await.ok_or("the response")?;
        assert_eq!(response["id"], 1, "{message}");
        assert_eq!(events.message().await, None, "{message}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn progress_makes_the_response_a_stream_of_events() -> Result<(), BoxError> {
    let service = serve()?;
    let client = Client::with_session(&service).await;
    let begun = Instant::now();
    let response = client.post(&call_with_progress(1, "steps")).await;
    assert_eq!(begun.elapsed(), STEP);
    let mut events = Events::of(response);
    assert!(!events.is_json);
    assert_eq!(
        events.event().await,
        Some(None),
        "the event from which a client resumes"
    );
    let mut received = Vec::new();
    while let Some(message) = events.message().await {
        received.push(summary(&message));
    }
    assert_eq!(
        Value::from(received),
        json!([1.0, 2.0, 3.0, 4.0, { "id": 1 }])
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_client_that_resumes_receives_the_messages_after_its_last_one() -> Result<(), BoxError> {
    let service = serve()?;
    let client = Client::with_session(&service).await;
    let mut events = Events::of(client.post(&call_with_progress(1, "steps")).await);
    for step in [1.0, 2.0] {
        let message = events.message().await.ok_or("progress")?;
        assert_eq!(summary(&message), json!(step));
    }
    let last_id = events.last_id.clone().ok_or("an id to resume from")?;
    drop(events);
    sleep(Duration::from_secs(5)).await;
    let mut events = Events::of(client.get(&[("last-event-id", &last_id)]).await);
    for expected in [json!(3.0), json!(4.0), json!({ "id": 1 })] {
        let message = events.message().await.ok_or("a message")?;
        assert_eq!(summary(&message), expected);
    }
    assert_eq!(events.message().await, None);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_request_that_runs_for_a_second_has_a_stream_of_events() -> Result<(), BoxError> {
    let (hang, mut notes) = hanging();
    let toolbox = Toolbox::builder().tool("hang", hang).build()?;
    let service = McpServer::new(toolbox).into_http(HttpOptions::new());
    let client = Client::with_session(&service).await;
    let begun = Instant::now();
    let mut events = client.call(1, "hang").await;
    assert_eq!(begun.elapsed(), Duration::from_secs(1));
    assert_eq!(notes.recv().await, Some(Noted::Started));
    assert_eq!(events.event().await, Some(None));
    assert!(events.last_id.is_some());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_cancelled_at_once_has_no_response() -> Result<(), BoxError> {
    let (hang, mut notes) = hanging();
    let toolbox = Toolbox::builder().tool("hang", hang).build()?;
    let service = McpServer::new(toolbox).into_http(HttpOptions::new());
    let client = Client::with_session(&service).await;
    let begun = Instant::now();
    let cancel = async {
        assert_eq!(notes.recv().await, Some(Noted::Started));
        let cancelled = json!({
            "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 },
        });
        assert_eq!(client.post(&cancelled).await.status(), 202);
    };
    let (mut events, ()) = tokio::join!(client.call(1, "hang"), cancel);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert!(!events.is_json);
    assert_eq!(events.message().await, None);
    assert_eq!(notes.recv().await, Some(Noted::Dropped(begun)));
    Ok(())
}
