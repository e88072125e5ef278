//! The service of the page: its responses, and its stream of updates.
#![cfg(feature = "http")]

use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::time::{advance, timeout};
use toolbooth::{EventsLayer, ToolCall, tool_fn};
use toolbooth_timeline::{Recorder, TimelineBody, TimelineService};
use tower::{Layer, ServiceExt};

const TICK: Duration = Duration::from_millis(250);

async fn send(service: &TimelineService, method: Method, path: &str) -> Response<TimelineBody> {
    let request = Request::builder().method(method).uri(path).body(());
    let response = service.clone().oneshot(request.expect("a request")).await;
    response.expect("it never fails")
}

async fn get(service: &TimelineService, path: &str) -> Response<TimelineBody> {
    send(service, Method::GET, path).await
}

async fn text(response: Response<TimelineBody>) -> String {
    let collected = response.into_body().collect().await.expect("never fails");
    String::from_utf8(collected.to_bytes().to_vec()).expect("text")
}

fn header<'a>(response: &'a Response<TimelineBody>, name: &str) -> Option<&'a str> {
    let value = response.headers().get(name)?;
    Some(value.to_str().expect("text"))
}

/// Makes calls that complete at once.
async fn make(recorder: &Recorder, calls: usize) {
    let layer = EventsLayer::new(recorder.clone());
    let tool = layer.layer(tool_fn("search", async |_: ()| {
        Ok::<_, std::io::Error>("found")
    }));
    for _ in 0..calls {
        let call = ToolCall::new("search", json!(null));
        tool.clone().oneshot(call).await.expect("it completes");
    }
}

/// An update as a client receives it.
#[derive(Debug)]
struct Update {
    is_reset: bool,
    calls: usize,
    /// The tools that have a text about their layers.
    stacks: usize,
}

/// Returns the next frame; `None` if there is none within `limit`.
async fn frame(body: &mut TimelineBody, limit: Duration) -> Option<Option<String>> {
    let frame = timeout(limit, body.frame()).await.ok()?;
    Some(frame.map(|frame| {
        let data = frame.expect("never fails").into_data().expect("data");
        String::from_utf8(data.to_vec()).expect("text")
    }))
}

async fn update(body: &mut TimelineBody) -> Update {
    let frame = frame(body, TICK).await.expect("in time").expect("no end");
    let (is_reset, data) = match frame.strip_prefix("event: reset\n") {
        Some(data) => (true, data),
        None => (false, frame.as_str()),
    };
    let data = data.strip_prefix("data: ").expect("data");
    let data = data.strip_suffix("\n\n").expect("the end of an event");
    let feed: Value = serde_json::from_str(data).expect("JSON in one line");
    let calls = feed["calls"].as_array().expect("calls").len();
    let stacks = feed.get("stacks").and_then(Value::as_object);
    Update {
        is_reset,
        calls,
        stacks: stacks.map_or(0, serde_json::Map::len),
    }
}

#[tokio::test]
async fn page_is_served_with_its_policy() {
    let service = TimelineService::new(Recorder::new());
    for path in ["/", "/?theme=dark"] {
        let response = get(&service, path).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(
            header(&response, "content-type"),
            Some("text/html; charset=utf-8")
        );
        let policy = header(&response, "content-security-policy").expect("a policy");
        let policy = policy.to_owned();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'sha256-"),
            "{policy}"
        );
        let page = text(response).await;
        assert!(page.contains(&policy), "the page has the same policy");
        assert!(page.contains("<html lang=\"en\" data-live>"));
    }
}

#[tokio::test]
async fn every_response_forbids_caches_and_frames() {
    let service = TimelineService::new(Recorder::new());
    for path in ["/", "/feed.json", "/events", "/nothing"] {
        for method in [Method::GET, Method::HEAD, Method::DELETE] {
            let response = send(&service, method, path).await;
            assert_eq!(header(&response, "cache-control"), Some("no-store"));
            assert_eq!(header(&response, "x-content-type-options"), Some("nosniff"));
            assert_eq!(header(&response, "x-frame-options"), Some("DENY"));
            assert_eq!(header(&response, "referrer-policy"), Some("no-referrer"));
        }
    }
}

#[tokio::test]
async fn head_has_the_headers_and_no_body() {
    let recorder = Recorder::new();
    make(&recorder, 1).await;
    let service = TimelineService::new(recorder);
    for path in ["/", "/events"] {
        let head = send(&service, Method::HEAD, path).await;
        let full = get(&service, path).await;
        assert_eq!(head.status(), StatusCode::OK);
        assert_eq!(head.headers(), full.headers(), "{path}");
        assert_eq!(text(head).await, "");
    }
    let page = get(&service, "/").await;
    let length: usize = header(&page, "content-length")
        .expect("it")
        .parse()
        .expect("a number");
    assert_eq!(text(page).await.len(), length);
}

#[tokio::test]
async fn unknown_path_is_not_found_and_other_method_is_not_allowed() {
    let service = TimelineService::new(Recorder::new());
    for path in ["/index.html", "/feed", "/events/", "//", "/timeline/"] {
        let response = get(&service, path).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
    }
    for path in ["/", "/feed.json", "/events"] {
        let response = send(&service, Method::POST, path).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(header(&response, "allow"), Some("GET, HEAD"));
    }
}

#[tokio::test(start_paused = true)]
async fn feed_has_the_calls_and_no_contents() {
    let recorder = Recorder::new();
    make(&recorder, 2).await;
    let service = TimelineService::new(recorder);
    let response = get(&service, "/feed.json").await;
    assert_eq!(header(&response, "content-type"), Some("application/json"));
    let text = text(response).await;
    assert!(!text.contains("found"), "{text}");
    let feed: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(feed["contents"], false);
    assert_eq!(feed["recorded"], 2);
    let call = &feed["calls"][1];
    assert_eq!(call["tool"], "search");
    assert_eq!(call["outcome"], "completed");
    assert_eq!(call["phases"], json!([["run", 0.0, 0.0, null, 1]]));
}

#[tokio::test(start_paused = true)]
async fn contents_are_served_if_the_recorder_keeps_them() {
    let recorder = Recorder::new().with_contents();
    make(&recorder, 1).await;
    let feed = text(get(&TimelineService::new(recorder), "/feed.json").await).await;
    let feed: Value = serde_json::from_str(&feed).expect("JSON");
    assert_eq!(feed["contents"], true);
    assert_eq!(feed["calls"][0]["partial"], json!(["found"]));
}

#[tokio::test(start_paused = true)]
async fn client_receives_all_calls_and_then_changes() {
    let recorder = Recorder::new();
    make(&recorder, 3).await;
    let service = TimelineService::new(recorder.clone());
    let mut body = get(&service, "/events").await.into_body();
    let first = update(&mut body).await;
    assert!(first.is_reset);
    assert_eq!(first.calls, 3);
    assert_eq!(frame(&mut body, 4 * TICK).await, None, "nothing changes");

    make(&recorder, 2).await;
    let next = update(&mut body).await;
    assert!(!next.is_reset);
    assert_eq!(next.calls, 2);
}

#[tokio::test(start_paused = true)]
async fn changes_within_a_tick_are_one_update() {
    let recorder = Recorder::new();
    let service = TimelineService::new(recorder.clone());
    let mut body = get(&service, "/events").await.into_body();
    assert_eq!(update(&mut body).await.calls, 0);
    for _ in 0..5 {
        make(&recorder, 10).await;
        advance(Duration::from_millis(40)).await;
    }
    assert_eq!(frame(&mut body, Duration::from_millis(49)).await, None);
    assert_eq!(update(&mut body).await.calls, 50);
}

#[tokio::test(start_paused = true)]
async fn slow_client_receives_bounded_updates() {
    let recorder = Recorder::new();
    let service = TimelineService::new(recorder.clone());
    let mut body = get(&service, "/events").await.into_body();
    assert_eq!(update(&mut body).await.calls, 0);
    // It reads nothing for an hour, in which 1,300 calls end.
    make(&recorder, 1_300).await;
    advance(Duration::from_secs(3_600)).await;
    let mut sizes = Vec::new();
    for _ in 0..3 {
        sizes.push(update(&mut body).await.calls);
    }
    assert_eq!(sizes, [500, 500, 300]);
    assert_eq!(frame(&mut body, 4 * TICK).await, None, "there are no more");
}

#[tokio::test(start_paused = true)]
async fn quiet_stream_has_a_comment_every_ten_seconds() {
    let service = TimelineService::new(Recorder::new());
    let mut body = get(&service, "/events").await.into_body();
    assert_eq!(update(&mut body).await.calls, 0);
    for _ in 0..3 {
        assert_eq!(frame(&mut body, Duration::from_millis(9_999)).await, None);
        let comment = frame(&mut body, Duration::from_millis(1)).await;
        assert_eq!(comment, Some(Some(":\n\n".to_owned())));
    }
}

#[tokio::test(start_paused = true)]
async fn clients_beyond_the_limit_are_rejected() {
    let service = TimelineService::new(Recorder::new()).with_max_clients(2);
    let first = get(&service, "/events").await;
    let second = get(&service.clone(), "/events").await;
    let third = get(&service, "/events").await;
    assert_eq!(third.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(header(&third, "retry-after"), Some("5"));
    assert_eq!(get(&service, "/feed.json").await.status(), StatusCode::OK);

    drop(first);
    assert_eq!(get(&service, "/events").await.status(), StatusCode::OK);
    drop(second);
}

#[tokio::test(start_paused = true)]
async fn sixteen_clients_are_served_by_default() {
    let service = TimelineService::new(Recorder::new());
    let mut clients = Vec::new();
    for _ in 0..16 {
        clients.push(get(&service, "/events").await);
    }
    assert!(
        clients
            .iter()
            .all(|client| client.status() == StatusCode::OK)
    );
    let next = get(&service, "/events").await;
    assert_eq!(next.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn close_ends_the_streams() {
    let service = TimelineService::new(Recorder::new());
    let mut body = get(&service, "/events").await.into_body();
    assert_eq!(update(&mut body).await.calls, 0);
    service.close();
    assert_eq!(frame(&mut body, TICK).await, Some(None));
    let next = get(&service, "/events").await;
    assert_eq!(next.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(get(&service, "/").await.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn drop_of_all_services_ends_the_streams() {
    let service = TimelineService::new(Recorder::new());
    let other = service.clone();
    let mut body = get(&service, "/events").await.into_body();
    assert_eq!(update(&mut body).await.calls, 0);
    drop(service);
    assert_eq!(frame(&mut body, 4 * TICK).await, None, "a clone remains");
    drop(other);
    assert_eq!(frame(&mut body, TICK).await, Some(None));
}

/// They are as long as the program makes them, and never change.
#[tokio::test(start_paused = true)]
async fn stream_has_the_texts_of_stacks_once() {
    let recorder = Recorder::new();
    let recorder = recorder
        .with_stack("search", "timeout of 3s")
        .with_stack("read", "timeout of 1s");
    make(&recorder, 501).await;
    let service = TimelineService::new(recorder.clone());
    let mut body = get(&service, "/events").await.into_body();
    let mut updates = vec![update(&mut body).await, update(&mut body).await];
    make(&recorder, 1).await;
    advance(TICK).await;
    updates.push(update(&mut body).await);
    let stacks: Vec<_> = updates.iter().map(|update| update.stacks).collect();
    assert_eq!(stacks, [2, 0, 0]);
    let calls: Vec<_> = updates.iter().map(|update| update.calls).collect();
    assert_eq!(calls, [500, 1, 1]);
}
