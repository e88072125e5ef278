//! Two requests with one id over HTTP.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use toolbooth::BoxError;
use toolbooth_mcp::HttpOptions;

use super::client::{Client, Events, stateless_call};
use crate::repeated::{assert_rejected, slow};

/// Comments on an idle stream do not follow the paused clock.
fn options() -> HttpOptions {
    HttpOptions::new().with_keep_alive(Duration::from_secs(3_600))
}

#[tokio::test(start_paused = true)]
async fn in_a_session_the_second_one_is_rejected_and_each_stream_ends() -> Result<(), BoxError> {
    let service = slow()?.into_http(options());
    let client = Client::with_session(&service).await;
    let begun = Instant::now();
    let mut first = client.call(1, "slow").await;
    let sent = Instant::now();
    let mut second = client.call(1, "slow").await;
    assert_rejected(&second.message().await.ok_or("a response")?);
    assert!(second.is_json);
    assert_eq!(sent.elapsed(), Duration::ZERO);
    let response = first.message().await.ok_or("a response")?;
    assert_eq!(response["result"]["content"][0]["text"], "done");
    assert_eq!(begun.elapsed(), Duration::from_secs(60));
    // An id may be used again once its response is read, before its stream ends.
    let mut third = client.call(1, "slow").await;
    let response = third.message().await.ok_or("a response")?;
    assert_eq!(response["result"]["isError"], false);
    assert_eq!(first.message().await, None);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn in_a_session_the_id_of_a_cancelled_request_is_free_when_its_call_has_ended()
-> Result<(), BoxError> {
    let service = slow()?.into_http(options());
    let client = Client::with_session(&service).await;
    let mut first = client.call(1, "slow").await;
    let cancelled = json!({
        "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 },
    });
    assert_eq!(client.post(&cancelled).await.status(), 202);
    while first.message().await.is_some() {}
    tokio::time::sleep(Duration::from_millis(1)).await;
    let mut again = client.call(1, "slow").await;
    let response = again.message().await.ok_or("a response")?;
    assert_eq!(response["result"]["content"][0]["text"], "done");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn another_session_and_requests_without_one_have_ids_of_their_own() -> Result<(), BoxError> {
    let service = slow()?.into_http(options());
    let sessions = [
        Client::with_session(&service).await,
        Client::with_session(&service).await,
    ];
    let mut all = Vec::new();
    for client in &sessions {
        all.push(client.call(1, "slow").await);
    }
    let mut client = Client::new(&service);
    for (name, value) in [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "slow"),
    ] {
        client.headers.insert(name, value.parse()?);
    }
    let call = stateless_call(1, "slow");
    let (a, b) = tokio::join!(client.post(&call), client.post(&call));
    all.extend([Events::of(a), Events::of(b)]);
    for mut events in all {
        let response = events.message().await.ok_or("a response")?;
        assert_eq!(response["result"]["content"][0]["text"], "done");
    }
    Ok(())
}
