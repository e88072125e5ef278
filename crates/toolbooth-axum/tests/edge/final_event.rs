//! Streams of events below layers around their routes.

use std::convert::Infallible;

use axum::body::HttpBody;
use axum::error_handling::HandleErrorLayer;
use axum::response::sse::{Event, Sse};
use axum::routing::get;
use futures_util::{StreamExt, stream};
use serde_json::json;
use toolbooth::{BoxError, TimeoutLayer, Toolbox, stream_tool_fn};
use toolbooth_axum::{FinalEventLayer, ToolRouter, handle_error};
use tower::ServiceBuilder;

use super::*;

/// Adds a limit of 250 ms around the routes.
fn limited(routes: Router) -> Router {
    routes.layer(
        ServiceBuilder::new()
            .layer(FinalEventLayer::new())
            .layer(HandleErrorLayer::new(handle_error))
            .layer(TimeoutLayer::new(ms(250))),
    )
}

fn request_of(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).expect("a request")
}

/// These chunks, one every 100 ms, and no end.
fn chunks(chunks: &'static [&'static str]) -> Body {
    let chunks = stream::iter(chunks).then(async |chunk| {
        tokio::time::sleep(ms(100)).await;
        Ok::<_, Infallible>(*chunk)
    });
    Body::from_stream(chunks.chain(stream::pending()))
}

#[tokio::test(start_paused = true)]
async fn events_that_expire_end_with_an_error_event() {
    let ticks = || {
        stream::iter(1..).then(async |tick: u64| {
            tokio::time::sleep(ms(100)).await;
            Ok::<_, Infallible>(Event::default().event("tick").data(tick.to_string()))
        })
    };
    let app = limited(Router::new().route("/ticks", get(async move || Sse::new(ticks()))));
    let response = send(&app, request_of("/ticks")).await;
    let body = bytes(response).await;
    let events = parsed(&body);
    assert_eq!(names(&events), ["tick", "tick", "error"]);
    let problem = &events[2].1;
    assert_eq!(
        (&problem["status"], &problem["kind"]),
        (&json!(504), &json!("timeout"))
    );
    assert_eq!(problem["started"], true);
}

#[tokio::test(start_paused = true)]
async fn other_bodies_and_unfinished_events_end_with_an_error() {
    let media_type = |name: &'static str, body| ([("content-type", name)], body);
    let plain = get(async move || media_type("text/plain", chunks(&["data: 1\n\n"])));
    let cut =
        get(async move || media_type("text/event-stream", chunks(&["data: 1\n\n", "data: "])));
    let whole = get(async move || {
        media_type(
            "Text/Event-Stream; charset=utf-8",
            chunks(&["data: 1\n", "\n"]),
        )
    });
    let routes = Router::new()
        .route("/plain", plain)
        .route("/cut", cut)
        .route("/whole", whole);
    let app = limited(routes);
    for (path, ends) in [("/plain", false), ("/cut", false), ("/whole", true)] {
        let response = send(&app, request_of(path)).await;
        assert_eq!(response.into_body().collect().await.is_ok(), ends, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn body_without_an_error_stays_as_it_is() {
    let app = limited(Router::new().route("/", get(async || "42 rows")));
    let response = send(&app, request_of("/")).await;
    assert_eq!(response.headers()["content-length"], "7");
    assert_eq!(response.body().size_hint().exact(), Some(7));
    assert_eq!(bytes(response).await, "42 rows");
}

#[tokio::test(start_paused = true)]
async fn limit_around_a_tool_router_ends_its_events_with_an_error_event() {
    let lines = stream_tool_fn("lines", |_: ()| {
        let first = stream::iter([Ok::<_, BoxError>("line 1".into())]);
        first.chain(stream::pending())
    });
    let toolbox = Toolbox::builder()
        .tool("lines", lines)
        .build()
        .expect("a toolbox");
    let app = limited(ToolRouter::new(toolbox).into_router());
    let events = events(&app, "lines", "").await;
    assert_eq!(names(&events), ["item", "error"]);
    assert_eq!(events[1].1["kind"], "timeout");
}
