//! Status and headers of errors, and bodies that time out.

use http_body_util::BodyExt;
use serde_json::Value;
use toolbooth::Quota;
use toolbooth_examples::servers::{http::app, toolbox};

use super::*;

/// Starts the application of the example.
async fn example(limits: Limits) -> Server {
    let app = app(toolbox().expect("a toolbox"), &limits);
    Server::serve(app, limits, Log::default()).await
}

/// Returns the status, `Retry-After`, and the JSON of the body.
async fn post(
    client: &Polite,
    server: &Server,
    tool: &str,
    args: &'static str,
) -> (u16, Option<u64>, Value) {
    let path = format!("/tools/{tool}");
    let response = client.send(Method::POST, server.address, &path, args).await;
    let status = response.status().as_u16();
    let retry_after = response.headers().get("retry-after");
    let retry_after =
        retry_after.map(|wait| wait.to_str().expect("text").parse().expect("seconds"));
    let body = response.into_body().collect().await.expect("a body");
    let body = serde_json::from_slice(&body.to_bytes()).expect("json");
    (status, retry_after, body)
}

#[tokio::test]
async fn tool_responds_and_its_errors_have_their_status() {
    let server = example(limits(1)).await;
    for client in Polite::both() {
        let (status, _, body) = post(&client, &server, "sum", r#"{"numbers":[1,2]}"#).await;
        let expected = serde_json::json!([{ "type": "json", "value": { "sum": 3.0 } }]);
        assert_eq!((status, &body["contents"]), (200, &expected));

        let (status, retry_after, body) = post(&client, &server, "sum", r#"{"numbers":7}"#).await;
        assert_eq!((status, retry_after), (400, None));
        assert_eq!(body["kind"], "invalid_arguments");

        let (status, retry_after, body) = post(&client, &server, "sing", "{}").await;
        assert_eq!((status, retry_after), (404, None));
        assert_eq!(body["kind"], "unknown_tool");
        assert_eq!(body["detail"], "there is no tool named `sing`");
    }
    assert_eq!(server.in_flight(), 0);
}

#[tokio::test]
async fn timeout_is_504() {
    let mut limits = limits(1);
    limits.timeout = TimeoutLayer::new(ms(50));
    let server = example(limits).await;
    for client in Polite::both() {
        let (status, retry_after, body) =
            post(&client, &server, "sleep", r#"{"millis":60000}"#).await;
        assert_eq!((status, retry_after), (504, None));
        assert_eq!(body["kind"], "timeout");
        assert_eq!(body["tool"], "/tools/{name}");
        assert_eq!(server.in_flight(), 0);
    }
}

#[tokio::test]
async fn rate_limit_is_429_with_retry_after() {
    for client in Polite::both() {
        let mut limits = limits(1);
        let hour = Duration::from_secs(3_600);
        limits.rate = RateLimitLayer::new(Quota::with_period(hour)).reject();
        let server = example(limits).await;
        let (status, ..) = post(&client, &server, "sum", r#"{"numbers":[]}"#).await;
        assert_eq!(status, 200);
        let (status, retry_after, body) = post(&client, &server, "sum", r#"{"numbers":[]}"#).await;
        assert_eq!((status, &body["kind"]), (429, &"rate_limited".into()));
        // Rounded up, less the duration of the test.
        let retry_after = retry_after.expect("it is known");
        assert!((3_580..=3_600).contains(&retry_after), "{retry_after}");
    }
}

#[tokio::test]
async fn full_limit_is_503_until_the_body_of_the_other_call_ends() {
    for client in Polite::both() {
        let mut limits = limits(1);
        limits.at_once = ConcurrencyLimitLayer::new(1).with_queue_capacity(0);
        let server = example(limits).await;
        let streamed = client.get(&server, "/numbers/1000000").await;
        assert_eq!((streamed.status().as_u16(), server.in_flight()), (200, 1));
        let (status, retry_after, body) = post(&client, &server, "sum", r#"{"numbers":[]}"#).await;
        assert_eq!((status, retry_after), (503, None));
        assert_eq!(body["kind"], "overloaded");
        drop(streamed);
        eventually("the permit is released", || server.in_flight() == 0).await;
        let (status, ..) = post(&client, &server, "sum", r#"{"numbers":[]}"#).await;
        assert_eq!(status, 200);
    }
}

#[tokio::test]
async fn events_arrive_and_complete() {
    let server = example(limits(1)).await;
    for client in Polite::both() {
        let response = client.get(&server, "/ticks/2").await;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let body = response.into_body().collect().await.expect("a body");
        assert_eq!(
            body.to_bytes(),
            "event: tick\ndata: 1\n\nevent: tick\ndata: 2\n\n"
        );
        eventually("the permit is released", || server.in_flight() == 0).await;
    }
}

#[tokio::test]
async fn body_that_times_out_ends_with_an_error_after_its_chunks() {
    for client in Polite::both() {
        let mut limits = limits(1);
        limits.timeout = TimeoutLayer::new(ms(320));
        let server = example(limits).await;
        let mut body = client.get(&server, "/numbers/1000000").await.into_body();
        let mut text = String::new();
        while let Ok(frame) = body.frame().await.expect("an error before the end") {
            let data = frame.into_data().expect("data");
            text += std::str::from_utf8(&data).expect("a text");
        }
        let chunks: Vec<_> = text.lines().collect();
        let first: Vec<_> = (1..=chunks.len())
            .map(|number| number.to_string())
            .collect();
        assert_eq!(chunks, first);
        // One each 50 ms; fewer on a busy machine, never more.
        assert!((1..=7).contains(&first.len()), "{text:?}");
        assert_eq!(server.in_flight(), 0);
    }
}
