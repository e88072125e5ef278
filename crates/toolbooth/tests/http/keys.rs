//! Limits by a key of the head of a request.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use toolbooth::{
    BreakerPolicy, CircuitBreakerLayer, ConcurrencyLimitLayer, ErrorKind, Quota, RateLimitLayer,
    RequestHead, ToolError, ToolRequest,
};
use toolbooth_test::call;

use super::*;

fn hourly() -> Quota {
    Quota::per_hour(NonZeroU32::MIN)
}

fn get(path: &str, api_key: &str) -> Request<()> {
    let request = Request::get(path).header("x-api-key", api_key);
    request.body(()).expect("a request")
}

fn by_api_key(request: &RequestHead<'_>) -> toolbooth::Name {
    request.header("X-Api-Key").unwrap_or("none").into()
}

/// Makes a request through the limit, and returns the error.
async fn send(rate: &RateLimitLayer, request: Request<()>) -> Result<(), ToolError> {
    let respond = async |_: Request<()>| Ok::<_, BoxError>(Response::new(String::new()));
    let tool = rate.layer(service_fn(respond));
    tool.oneshot(request).await.map(drop)
}

fn kind(result: Result<(), ToolError>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn each_value_of_a_header_has_a_bucket() {
    let rate = RateLimitLayer::by_request(hourly(), by_api_key).reject();
    for key in ["k1", "k2"] {
        assert_eq!(kind(send(&rate, get("/", key)).await), None);
        let again = send(&rate, get("/", key)).await;
        assert_eq!(kind(again), Some(ErrorKind::RateLimited));
    }
    assert_eq!(kind(send(&rate, Request::new(())).await), None);
    assert_eq!(
        (rate.remaining_for("none"), rate.remaining_for("k3")),
        (0, 1)
    );
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn each_peer_and_each_segment_of_a_path_has_a_bucket() {
    let rate = RateLimitLayer::by_request(hourly(), |request| {
        let peer = request.extension::<SocketAddr>();
        peer.map_or("unknown".into(), |peer| peer.ip().to_string().into())
    })
    .reject();
    // Another port of the first peer is the same key.
    for (peer, expected) in [
        ("10.0.0.1:1", None),
        ("10.0.0.1:2", Some(ErrorKind::RateLimited)),
        ("10.0.0.2:1", None),
    ] {
        let mut request = Request::new(());
        let peer: SocketAddr = peer.parse().unwrap();
        request.extensions_mut().insert(peer);
        assert_eq!(kind(send(&rate, request).await), expected, "{peer}");
    }

    let rate = RateLimitLayer::by_request(hourly(), |request| {
        request.path_segment(1).unwrap_or("none").into()
    })
    .reject();
    for (path, expected) in [
        ("/tenants/a/notes?page=1", None),
        ("/tenants/a", Some(ErrorKind::RateLimited)),
        ("/tenants/b", None),
        ("/tenants", None),
    ] {
        assert_eq!(kind(send(&rate, get(path, "k")).await), expected, "{path}");
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn key_that_is_too_long_is_rejected() {
    let rate = RateLimitLayer::by_request(hourly(), by_api_key).reject();
    assert_eq!(kind(send(&rate, get("/", &"k".repeat(1_024))).await), None);
    let error = send(&rate, get("/", &"k".repeat(1_025))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArguments);
    assert_eq!(error.status(), http::StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn concurrency_is_limited_by_a_header() {
    let limit = ConcurrencyLimitLayer::by_request(1, by_api_key).with_queue_capacity(0);
    let respond = async |_: Request<()>| {
        tokio::time::sleep(ms(100)).await;
        Ok::<_, BoxError>(Response::new(String::new()))
    };
    let tool = limit.layer(service_fn(respond));
    let [first, again, other] = ["k1", "k1", "k2"].map(|key| tool.clone().oneshot(get("/", key)));
    let (first, again, other) = tokio::join!(first, again, other);
    assert!(first.is_ok() && other.is_ok());
    assert_eq!(again.unwrap_err().kind(), ErrorKind::Overloaded);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn each_value_of_a_header_has_a_breaker() {
    let breaker = CircuitBreakerLayer::by_request(BreakerPolicy::new(), by_api_key);
    let respond = async |request: Request<()>| {
        let broken = request
            .headers()
            .get("x-api-key")
            .is_some_and(|key| key == "k1");
        let status = if broken { 500 } else { 200 };
        Response::builder().status(status).body(String::new())
    };
    let tool = breaker.layer(service_fn(respond));
    for _ in 0..5 {
        drop(tool.clone().oneshot(get("/", "k1")).await.unwrap());
    }
    let rejected = tool.clone().oneshot(get("/", "k1")).await.unwrap_err();
    assert_eq!(rejected.kind(), ErrorKind::CircuitOpen);
    assert!(tool.oneshot(get("/", "k2")).await.is_ok());
}

/// Such as a child call of a tool of the same limit.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn call_that_is_no_request_of_http_has_the_empty_key() {
    let rate = RateLimitLayer::by_request(hourly(), by_api_key).reject();
    assert!(call("tool").http_head().is_none());
    let tool = rate.layer(toolbooth_test::FastTool::new());
    tool.clone().oneshot(call("tool")).await.unwrap();
    let error = tool.oneshot(call("other")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RateLimited);
    assert_eq!((rate.remaining_for(""), rate.remaining_for("none")), (0, 1));
}

#[test]
fn head_shows_no_secrets() {
    let request = get("/a/b?token=secret", "secret");
    let head = request.http_head().unwrap();
    let shown = format!("{head:?}");
    assert_eq!(shown, r#"RequestHead { method: GET, path: "/a/b", .. }"#);
    let parts = (
        head.method().as_str(),
        head.uri().query(),
        head.headers().len(),
    );
    assert_eq!(parts, ("GET", Some("token=secret"), 1));
    assert_eq!(
        [0, 1, 2].map(|n| head.path_segment(n)),
        [Some("a"), Some("b"), None]
    );
}
