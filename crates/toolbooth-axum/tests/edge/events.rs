//! Calls as server-sent events.

use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio::time::sleep;
use toolbooth::{
    BoxError, CallContext, ConcurrencyLimitLayer, Content, PartialResultLayer, TimeoutLayer,
    ToolError, Toolbox, stream_tool_fn, tool_fn,
};
use toolbooth_axum::ToolRouter;
use tower::{Layer, ServiceBuilder};

use super::*;

fn toolbox() -> Toolbox {
    let crawl = tool_fn("crawl", async |call: CallContext, _: ()| {
        for page in 1..=2 {
            sleep(ms(100)).await;
            call.progress(page, 2, format!("page {page}"));
            call.emit(format!("page {page}"));
        }
        call.snapshot("both pages");
        Ok::<_, BoxError>("2 pages")
    });
    let lines = stream_tool_fn("lines", |call: CallContext, _: ()| {
        call.emit("before");
        stream::iter(1..=3).then(move |line| {
            let call = call.clone();
            async move {
                sleep(ms(100)).await;
                call.progress(line, 3, None);
                Ok::<_, BoxError>(format!("line {line}").into())
            }
        })
    });
    let hangs = stream_tool_fn("hangs", |_: ()| {
        let first = stream::iter([Ok::<_, BoxError>("the only line".into())]);
        first.chain(stream::pending())
    });
    let silent = tool_fn("silent", async |_: ()| {
        sleep(ms(40_000)).await;
        Err::<(), _>(ToolError::failed("postgres://admin:hunter2@db"))
    });
    let beats = tool_fn("beats", async |call: CallContext, _: ()| {
        for _ in 0..25 {
            call.heartbeat();
            sleep(ms(100)).await;
        }
        Ok::<_, BoxError>("2.5 s")
    });
    Toolbox::builder()
        .tool("crawl", crawl)
        .tool("lines", lines)
        .tool("hangs", hangs)
        .tool("silent", silent)
        .tool("beats", beats)
        .build()
        .expect("a toolbox")
}

fn app() -> Router {
    ToolRouter::new(toolbox()).into_router()
}

fn text(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

#[tokio::test(start_paused = true)]
async fn updates_come_in_order_and_the_result_last() {
    let mut events = events(&app(), "crawl", "").await;
    let (_, result) = events.last_mut().expect("a result");
    assert!(result["call_id"].take().is_string());
    let expected = [
        (
            "progress",
            json!({ "done": 1, "total": 2, "message": "page 1" }),
        ),
        ("partial", text("page 1")),
        (
            "progress",
            json!({ "done": 2, "total": 2, "message": "page 2" }),
        ),
        ("partial", text("page 2")),
        ("snapshot", text("both pages")),
        (
            "result",
            json!({ "call_id": null, "contents": [text("2 pages")] }),
        ),
    ];
    assert_eq!(events, expected.map(|(name, data)| (name.to_owned(), data)));
}

#[tokio::test(start_paused = true)]
async fn items_of_a_stream_come_as_they_are_made() {
    let started = tokio::time::Instant::now();
    let response = send(&app(), events_request("lines", "")).await;
    let mut body = response.into_body();
    let mut seen = Vec::new();
    while let Some(frame) = body.frame().await {
        let data = frame.expect("no error").into_data().expect("data");
        for (name, mut data) in parsed(&data) {
            if name == "result" {
                data["call_id"].take();
            }
            seen.push((started.elapsed().as_millis(), name, data));
        }
    }
    let progress = |done| json!({ "done": done, "total": 3 });
    let expected = [
        (0, "partial", text("before")),
        (100, "progress", progress(1)),
        (100, "item", text("line 1")),
        (200, "progress", progress(2)),
        (200, "item", text("line 2")),
        (300, "progress", progress(3)),
        (300, "item", text("line 3")),
        (300, "result", json!({ "call_id": null, "contents": [] })),
    ];
    assert_eq!(
        seen,
        expected.map(|(at, name, data)| (at, name.to_owned(), data))
    );
}

#[tokio::test(start_paused = true)]
async fn call_that_fails_before_its_first_event_has_the_status_of_its_error() {
    let full = ConcurrencyLimitLayer::new(0).with_queue_capacity(0);
    let app = ToolRouter::with_service(toolbox(), full.layer(toolbox())).into_router();
    let (status, body) = json(&app, events_request("crawl", "")).await;
    assert_eq!(
        (status.as_u16(), &body["kind"]),
        (503, &json!("overloaded"))
    );
    let (status, body) = json(&app, events_request("crawl", "[]")).await;
    assert_eq!(
        (status.as_u16(), &body["kind"]),
        (400, &json!("invalid_arguments"))
    );
    let (status, body) = json(&self::app(), events_request("crowl", "")).await;
    assert_eq!(
        (status.as_u16(), &body["nearest"]),
        (404, &json!(["crawl"]))
    );
}

#[tokio::test(start_paused = true)]
async fn call_that_fails_later_ends_with_an_error_event() {
    let limited = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ms(150)))
        .layer(PartialResultLayer::new())
        .service(toolbox());
    let app = ToolRouter::with_service(toolbox(), limited).into_router();
    for (tool, kept) in [("crawl", "page 1"), ("hangs", "the only line")] {
        let events = events(&app, tool, "").await;
        let (last, problem) = events.last().expect("an error");
        assert_eq!(
            (last.as_str(), &problem["status"]),
            ("error", &json!(504)),
            "{tool}"
        );
        assert_eq!(problem["kind"], "timeout");
        assert_eq!(problem["partial"]["contents"], json!([text(kept)]));
    }
}

#[tokio::test(start_paused = true)]
async fn silent_tool_has_comments_and_then_an_error_event() {
    let started = tokio::time::Instant::now();
    let response = send(&app(), events_request("silent", "")).await;
    // The head comes with the first keep-alive at the latest.
    assert_eq!(
        (response.status().as_u16(), started.elapsed()),
        (200, ms(15_000))
    );
    let body = bytes(response).await;
    assert_eq!(started.elapsed(), ms(40_000));
    assert!(body.starts_with(b":\n\nevent: error\n"), "{body:?}");
    let events = parsed(&body);
    assert_eq!(names(&events), ["error"]);
    assert_eq!(events[0].1["detail"], "the tool failed");
    assert!(!events[0].1.to_string().contains("hunter2"));
}

#[tokio::test(start_paused = true)]
async fn keep_alives_have_a_minimum_interval() {
    let app = ToolRouter::new(toolbox())
        .with_keep_alive(Duration::ZERO)
        .into_router();
    let started = tokio::time::Instant::now();
    let response = send(&app, events_request("silent", "")).await;
    assert_eq!(started.elapsed(), ms(100)); // the head
    let mut body = response.into_body();
    for comment in 2..10 {
        let frame = body.frame().await.expect("more").expect("no error");
        assert_eq!(frame.into_data().expect("data"), ":\n\n");
        assert_eq!(started.elapsed(), ms(100 * comment));
    }
}

#[tokio::test(start_paused = true)]
async fn heartbeats_are_sent_once_a_second() {
    let events = events(&app(), "beats", "").await;
    let names = names(&events);
    assert_eq!(names, ["heartbeat", "heartbeat", "heartbeat", "result"]);
}

#[tokio::test(start_paused = true)]
async fn content_that_nests_too_deep_ends_the_call_with_an_error_event() {
    let limit = ConcurrencyLimitLayer::new(1);
    let deep = tool_fn("deep", async |call: CallContext, _: ()| {
        call.emit("fine");
        let value = (0..1_000).fold(json!(null), |value, _| json!([value]));
        call.emit(Content::Json(value));
        std::future::pending::<Result<&str, BoxError>>().await
    });
    let toolbox = Toolbox::builder()
        .tool("deep", deep)
        .build()
        .expect("a toolbox");
    let app = ToolRouter::with_service(toolbox.clone(), limit.layer(toolbox)).into_router();
    let events = events(&app, "deep", "").await;
    assert_eq!(names(&events), ["partial", "error"]);
    tokio::task::yield_now().await;
    assert_eq!(limit.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_response_drops_the_call() {
    let limit = ConcurrencyLimitLayer::new(1);
    let app = ToolRouter::with_service(toolbox(), limit.layer(toolbox())).into_router();
    for tool in ["crawl", "lines", "hangs"] {
        let response = send(&app, events_request(tool, "")).await;
        assert_eq!((response.status().as_u16(), limit.in_flight()), (200, 1));
        drop(response);
        tokio::task::yield_now().await;
        assert_eq!(limit.in_flight(), 0, "{tool}");
    }
    // Before the head.
    let early = tokio::time::timeout(ms(10), send(&app, events_request("silent", "")));
    assert!(early.await.is_err());
    tokio::task::yield_now().await;
    assert_eq!(limit.in_flight(), 0);
}

/// A client that does not read: the body is not polled.
#[tokio::test(start_paused = true)]
async fn limits_expire_although_the_client_does_not_read() {
    let limit = ConcurrencyLimitLayer::new(1);
    let limited = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ms(150)))
        .layer(limit.clone())
        .service(toolbox());
    let app = ToolRouter::with_service(toolbox(), limited).into_router();
    let response = send(&app, events_request("crawl", "")).await;
    sleep(ms(60)).await;
    assert_eq!(limit.in_flight(), 0);
    let events = parsed(&bytes(response).await);
    assert_eq!(names(&events), ["progress", "partial", "error"]);
}

#[tokio::test(start_paused = true)]
async fn stalled_client_ends_the_call_and_reads_why() {
    let endless = stream_tool_fn("endless", |_: ()| {
        stream::iter(0..).map(|number: u64| Ok::<_, BoxError>(json!(number).into()))
    });
    let limit = ConcurrencyLimitLayer::new(1);
    let toolbox = Toolbox::builder()
        .tool("endless", endless)
        .build()
        .expect("a toolbox");
    let app = ToolRouter::with_service(toolbox.clone(), limit.layer(toolbox))
        .with_stall_timeout(ms(500))
        .into_router();
    let response = send(&app, events_request("endless", "")).await;
    sleep(ms(499)).await;
    assert_eq!(limit.in_flight(), 1);
    sleep(ms(2)).await;
    assert_eq!(limit.in_flight(), 0);
    let events = parsed(&bytes(response).await);
    // The first, 16 in the queue.
    assert_eq!(events.len(), 18);
    assert_eq!(
        events[16],
        ("item".to_owned(), json!({ "type": "json", "value": 16 }))
    );
    assert_eq!(events[17].1["kind"], "slow_client");
}

#[tokio::test(start_paused = true)]
async fn updates_that_a_slow_client_missed_are_counted() {
    let busy = tool_fn("busy", async |call: CallContext, _: ()| {
        for number in 0..10 {
            call.emit(number.to_string());
        }
        Ok::<_, BoxError>("10")
    });
    let toolbox = Toolbox::builder()
        .tool("busy", busy)
        .build()
        .expect("a toolbox");
    let app = ToolRouter::new(toolbox).with_queued_events(4).into_router();
    let events = events(&app, "busy", "").await;
    assert_eq!(
        names(&events),
        [
            "lagged", "partial", "partial", "partial", "partial", "result"
        ]
    );
    assert_eq!(
        (&events[0].1, &events[1].1),
        (&json!({ "missed": 6 }), &text("6"))
    );
}
