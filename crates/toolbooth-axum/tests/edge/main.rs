//! The crate as its users see it: requests and responses.
//!
//! What is not about the wire runs without sockets, on a paused clock.

mod caller;
mod events;
mod final_event;
mod json;

use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

/// A request that calls a tool.
fn request(tool: &str, args: &str) -> Request<Body> {
    Request::post(format!("/tools/{tool}"))
        .header("content-type", "application/json")
        .body(Body::from(args.to_owned()))
        .expect("a request")
}

/// A request whose response is to be events.
fn events_request(tool: &str, args: &str) -> Request<Body> {
    let mut request = request(tool, args);
    let events = "text/event-stream".parse().expect("a header");
    request.headers_mut().insert("accept", events);
    request
}

async fn send(app: &Router, request: Request<Body>) -> Response<Body> {
    app.clone().oneshot(request).await.expect("infallible")
}

async fn bytes(response: Response<Body>) -> Bytes {
    let body = response.into_body().collect().await;
    body.expect("a complete body").to_bytes()
}

/// Returns the status and the JSON of a response.
async fn json(app: &Router, request: Request<Body>) -> (StatusCode, Value) {
    let response = send(app, request).await;
    let status = response.status();
    let body = bytes(response).await;
    let json = serde_json::from_slice(&body);
    (status, json.expect("a body of JSON"))
}

/// Returns the events of a body, comments left out.
fn parsed(body: &[u8]) -> Vec<(String, Value)> {
    let text = std::str::from_utf8(body).expect("a text");
    let events = text.split("\n\n").filter(|event| !event.is_empty());
    let events = events.filter(|event| !event.starts_with(':'));
    let events = events.map(|event| {
        let (name, data) = event.split_once('\n').expect("a name and data");
        let name = name.strip_prefix("event: ").expect("a name");
        let data = data.strip_prefix("data: ").expect("data");
        let data = serde_json::from_str(data).expect("data of JSON");
        (name.to_owned(), data)
    });
    events.collect()
}

/// Sends a request for events on a paused clock, and returns them.
async fn events(app: &Router, tool: &str, args: &str) -> Vec<(String, Value)> {
    let response = send(app, events_request(tool, args)).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["cache-control"], "no-cache");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    parsed(&bytes(response).await)
}

fn names(events: &[(String, Value)]) -> Vec<&str> {
    events.iter().map(|(name, _)| name.as_str()).collect()
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
