//! The terminal event of responses of HTTP and gRPC.

use ::http::{HeaderMap, Request, Response};
use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use tower::service_fn;

use super::*;

/// The status, the code of gRPC in the head, and that in the trailers.
type Reply = (u16, Option<&'static str>, Option<&'static str>);

fn response(
    (status, head, trailers): Reply,
) -> Response<impl http_body::Body<Data = Bytes, Error = ToolError> + Unpin + use<>> {
    let mut response = Response::builder().status(status);
    if let Some(code) = head {
        response = response.header("grpc-status", code);
    }
    if head.or(trailers).is_some() {
        response = response.header("content-type", "application/grpc");
    }
    let trailers = trailers.map(|code| {
        let code = code.parse().expect("a header");
        HeaderMap::from_iter([("grpc-status".parse().expect("a name"), code)])
    });
    let body = Full::new(Bytes::from("body")).map_err(|never| match never {});
    let body = body.with_trailers(std::future::ready(trailers.map(Ok)));
    response.body(body).expect("a response")
}

/// Makes a call whose body is read or dropped, and returns its events.
async fn events_of(reply: Reply, is_read: bool) -> Recorder<Event> {
    let (layer, events) = recorded();
    let service = layer.layer(service_fn(move |_: Request<()>| {
        std::future::ready(Ok::<_, ToolError>(response(reply)))
    }));
    let response = service.oneshot(Request::new(())).await.expect("a response");
    if is_read {
        response.into_body().collect().await.expect("a whole body");
    }
    events
}

#[tokio::test(start_paused = true)]
async fn status_that_is_a_failure_is_failed_with_the_status_as_its_type() {
    let cases = [
        ((500, None, None), "500"),
        ((503, None, None), "503"),
        ((408, None, None), "408"),
        ((200, Some("14"), None), "UNAVAILABLE"),
        ((200, Some("4"), None), "DEADLINE_EXCEEDED"),
        ((200, Some("13"), None), "INTERNAL"),
        ((200, Some("15"), None), "DATA_LOSS"),
        ((200, Some("nonsense"), None), "UNKNOWN"),
        ((200, None, Some("2")), "UNKNOWN"),
        ((200, None, Some("14")), "UNAVAILABLE"),
    ];
    for (reply, error_type) in cases {
        let kind = terminal(&events_of(reply, true).await);
        assert_eq!(kind.name(), "tool.failed", "{reply:?}");
        assert_eq!(kind.error_type(), Some(error_type), "{reply:?}");
        assert!(kind.error().is_none(), "{reply:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn other_statuses_are_completed() {
    let cases = [
        (200, None, None),
        (404, None, None),
        (429, None, None),
        (200, Some("0"), None),
        (200, Some("5"), None),
        (200, None, Some("0")),
        (200, None, Some("8")),
        // The code of gRPC counts, not the status.
        (500, Some("5"), None),
    ];
    for reply in cases {
        let kind = terminal(&events_of(reply, true).await);
        assert_eq!(
            (kind.name(), kind.error_type()),
            ("tool.completed", None),
            "{reply:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn failure_in_the_head_counts_whether_or_not_the_body_is_read() {
    let kind = terminal(&events_of((502, None, None), false).await);
    assert_eq!(
        (kind.name(), kind.error_type()),
        ("tool.failed", Some("502"))
    );
    let kind = terminal(&events_of((200, None, None), false).await);
    assert_eq!(
        (kind.name(), kind.error_type()),
        ("tool.cancelled", Some("cancelled"))
    );
}

#[tokio::test(start_paused = true)]
async fn limit_that_expires_in_the_body_of_a_failure_is_a_timeout() {
    let (layer, events) = recorded();
    let stack = TimeoutLayer::new(ms(10)).layer(layer.layer(service_fn(async |_: Request<()>| {
        let frames = futures_util::stream::pending::<Result<Frame<Bytes>, ToolError>>();
        let response = Response::builder().status(500);
        Ok::<_, ToolError>(response.body(StreamBody::new(frames)).expect("a response"))
    })));
    let response = stack.oneshot(Request::new(())).await.unwrap();
    assert!(response.into_body().collect().await.is_err());
    assert_eq!(terminal(&events).name(), "tool.timed_out");
}

#[tokio::test(start_paused = true)]
async fn frames_are_items_with_their_length_and_trailers_are_none() {
    let events = events_of((200, None, Some("0")), true).await;
    let names = [
        "tool.invoked",
        "tool.started",
        "tool.first_item",
        "tool.partial",
        "tool.completed",
    ];
    assert_eq!(events.names(), names);
    let is_frame = |event: &Event| {
        matches!(
            &event.kind,
            EventKind::Partial {
                bytes: 4,
                content: None,
                ..
            }
        )
    };
    assert_eq!(
        events
            .values()
            .iter()
            .filter(|event| is_frame(event))
            .count(),
        1
    );
}
