//! Sessions are apart from each other, and bounded.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::json;
use tokio::time::{advance, sleep};
use toolbooth::{BoxError, Toolbox, tool_fn};
use toolbooth_mcp::{HttpOptions, HttpService, McpServer, SessionOwner};

use super::client::{Client, Events, call, initialize, request};

/// Comments on an idle stream do not follow the paused clock.
fn options() -> HttpOptions {
    HttpOptions::new().with_keep_alive(Duration::from_secs(3_600))
}

fn slow(options: HttpOptions) -> Result<HttpService, BoxError> {
    let slow = tool_fn("slow", async |_: ()| {
        sleep(Duration::from_secs(60)).await;
        Ok::<_, BoxError>("done")
    });
    let toolbox = Toolbox::builder().tool("slow", slow).build()?;
    Ok(McpServer::new(toolbox).into_http(options))
}

#[tokio::test(start_paused = true)]
async fn a_session_can_neither_cancel_nor_read_the_call_of_another() -> Result<(), BoxError> {
    let service = slow(options())?;
    let (a, b) = (
        Client::with_session(&service).await,
        Client::with_session(&service).await,
    );
    let mut events = a.call(1, "slow").await;
    assert_eq!(events.event().await, Some(None));
    let last_id = events.last_id.clone().ok_or("an id to resume from")?;

    let cancelled = json!({
        "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 },
    });
    assert_eq!(b.post(&cancelled).await.status(), 202);
    let mut stolen = Events::of(b.get(&[("last-event-id", &last_id)]).await);
    assert_eq!(stolen.message().await, None);

    let message = events.message().await.ok_or("the result")?;
    assert_eq!(message["result"]["isError"], false);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_session_is_only_for_its_owner() -> Result<(), BoxError> {
    let service = slow(options())?;
    let owned = |mut request: Request<Full<Bytes>>, owner: Option<&str>| {
        if let Some(owner) = owner {
            request.extensions_mut().insert(SessionOwner::new(owner));
        }
        request
    };
    let mut client = Client::new(&service);
    let post = |client: &Client, message: &serde_json::Value| {
        let mut request = Request::post("/mcp").body(Full::from(message.to_string()))?;
        request.headers_mut().clone_from(&client.headers);
        Ok::<_, http::Error>(request)
    };
    let begin = post(&client, &initialize())?;
    let begun = client.request(owned(begin, Some("alice"))).await;
    client.use_session(&begun);
    for (owner, status) in [(Some("alice"), 202), (Some("bob"), 404), (None, 404)] {
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        let request = owned(post(&client, &initialized)?, owner);
        assert_eq!(client.request(request).await.status(), status, "{owner:?}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn sessions_are_bounded() -> Result<(), BoxError> {
    let service = slow(options().with_max_sessions(2))?;
    let first = Client::with_session(&service).await;
    let _second = Client::with_session(&service).await;
    let rejected = Client::new(&service).initialize().await;
    assert_eq!(rejected.status(), 503);
    assert_eq!(rejected.headers()["retry-after"], "5");
    assert_eq!(first.delete().await.status(), 202);
    Client::with_session(&service).await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_when_it_is_idle_and_not_before() -> Result<(), BoxError> {
    let limit = Duration::from_secs(20);
    let service = slow(options().with_session_idle_limit(limit))?;
    let client = Client::with_session(&service).await;
    let list = || request(9, "tools/list", &json!({}));
    // A call without progress runs for longer than the limit.
    let mut events = client.call(1, "slow").await;
    assert!(events.message().await.is_some());
    drop(events);
    // A stream is open.
    let messages = client.get(&[]).await;
    advance(limit * 10).await;
    drop(messages);
    sleep(Duration::from_millis(19_999)).await;
    let response = client.post(&list()).await;
    assert_eq!(response.status(), 200);
    drop(response);
    sleep(limit + Duration::from_millis(1)).await;
    assert_eq!(client.post(&call(2, "slow")).await.status(), 404);
    Ok(())
}
