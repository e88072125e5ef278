//! Clients that are gone end their calls.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, advance, sleep};
use toolbooth::{BoxError, Toolbox, tool_fn};
use toolbooth_mcp::{HttpOptions, HttpService, McpServer};

use super::client::{Client, Events, stateless_call};
use crate::support::{Noted, hanging};

const KEEP_ALIVE: Duration = Duration::from_secs(15);

fn serve(toolbox: Toolbox) -> HttpService {
    McpServer::new(toolbox).into_http(HttpOptions::new())
}

#[tokio::test(start_paused = true)]
async fn a_session_call_ends_when_its_client_is_gone_for_the_keep_alive() -> Result<(), BoxError> {
    let (hang, mut notes) = hanging();
    let service = serve(Toolbox::builder().tool("hang", hang).build()?);
    let client = Client::with_session(&service).await;
    let mut events = client.call(1, "hang").await;
    assert_eq!(
        events.event().await,
        Some(None),
        "the event from which a client resumes"
    );
    assert_eq!(notes.recv().await, Some(Noted::Started));
    advance(Duration::from_secs(60)).await;
    let gone = Instant::now();
    drop(events);
    assert_eq!(notes.recv().await, Some(Noted::Dropped(gone + KEEP_ALIVE)));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_client_that_resumes_in_time_receives_the_result() -> Result<(), BoxError> {
    let slow = tool_fn("slow", async |_: ()| {
        sleep(Duration::from_secs(60)).await;
        Ok::<_, BoxError>("done")
    });
    let service = serve(Toolbox::builder().tool("slow", slow).build()?);
    let client = Client::with_session(&service).await;
    let away = Duration::from_millis(14_990);
    let mut events = client.call(7, "slow").await;
    let begun = Instant::now();
    for _ in 0..5 {
        assert_eq!(events.event().await, Some(None));
        let last_id = events.last_id.clone().ok_or("an id to resume from")?;
        drop(events);
        sleep(away).await;
        events = Events::of(client.get(&[("last-event-id", &last_id)]).await);
    }
    let message = events.message().await.ok_or("the result")?;
    assert_eq!(
        (&message["id"], &message["result"]["isError"]),
        (&json!(7), &json!(false))
    );
    // Ready while the client was away, and sent when it was back.
    assert_eq!(begun.elapsed(), away * 5);
    assert_eq!(events.message().await, None);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_stream_ends_when_its_client_is_gone_for_the_keep_alive()
-> Result<(), BoxError> {
    let (hang, mut notes) = hanging();
    let service = serve(Toolbox::builder().tool("hang", hang).build()?);
    let client = Client::with_session(&service).await;
    tokio::select! {
        _ = client.call(1, "hang") => return Err("a response".into()),
        note = notes.recv() => assert_eq!(note, Some(Noted::Started)),
    }
    let gone = Instant::now();
    assert_eq!(notes.recv().await, Some(Noted::Dropped(gone + KEEP_ALIVE)));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_stateless_call_ends_when_its_response_is_dropped() -> Result<(), BoxError> {
    let (hang, mut notes) = hanging();
    let service = serve(Toolbox::builder().tool("hang", hang).build()?);
    let client = Client::stateless(&service, "hang");
    let message = stateless_call(1, "hang");
    {
        let response = client.post(&message);
        tokio::select! {
            response = response => return Err(format!("{response:?}").into()),
            note = notes.recv() => assert_eq!(note, Some(Noted::Started)),
        }
    }
    assert_eq!(notes.recv().await, Some(Noted::Dropped(Instant::now())));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_session_ends_its_calls() -> Result<(), BoxError> {
    let (hang, mut notes) = hanging();
    let service = serve(Toolbox::builder().tool("hang", hang).build()?);
    let client = Client::with_session(&service).await;
    let events = client.call(1, "hang").await;
    assert_eq!(notes.recv().await, Some(Noted::Started));
    assert_eq!(client.delete().await.status(), 202);
    assert_eq!(notes.recv().await, Some(Noted::Dropped(Instant::now())));
    assert_eq!(
        client.post(&super::client::call(2, "hang")).await.status(),
        404
    );
    drop(events);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_notification_of_the_client_cancels_its_call() -> Result<(), BoxError> {
    let (hang, mut notes) = hanging();
    let service = serve(Toolbox::builder().tool("hang", hang).build()?);
    let client = Client::with_session(&service).await;
    let mut events = client.call(1, "hang").await;
    assert_eq!(notes.recv().await, Some(Noted::Started));
    let cancelled = json!({
        "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 },
    });
    assert_eq!(client.post(&cancelled).await.status(), 202);
    assert_eq!(notes.recv().await, Some(Noted::Dropped(Instant::now())));
    assert_eq!(events.message().await, None, "nothing is sent any more");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn closing_the_service_ends_its_calls_and_its_streams() -> Result<(), BoxError> {
    let (hang, mut notes) = hanging();
    let service = serve(Toolbox::builder().tool("hang", hang).build()?);
    let client = Client::with_session(&service).await;
    let mut messages = Events::of(client.get(&[]).await);
    let mut events = client.call(1, "hang").await;
    assert_eq!(notes.recv().await, Some(Noted::Started));
    service.close();
    assert_eq!(notes.recv().await, Some(Noted::Dropped(Instant::now())));
    assert_eq!(
        (events.message().await, messages.message().await),
        (None, None)
    );
    let response = client.initialize().await;
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
    Ok(())
}
