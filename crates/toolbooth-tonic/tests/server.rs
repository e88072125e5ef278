//! The server's layer: what it reads of a request, and what errors become.

use std::convert::Infallible;
use std::future::{Ready, pending, ready};
use std::task::{Context, Poll};

use futures_util::{StreamExt, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::time::Instant;
use tonic::Status;
use tonic::codegen::Bytes;
use toolbooth::{BoxError, CallContext, Name, TimeoutLayer, ToolError, ToolRequest};
use toolbooth_test::{Recorder, ms};
use toolbooth_tonic::ServerLayer;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

type Chunks = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;

/// What a request's context has: its tool, tenant and the milliseconds until the deadline.
type Seen = (String, Option<String>, Option<u128>);

fn seen_of(context: &CallContext) -> Seen {
    let remaining = context.remaining().map(|time| time.as_millis());
    let tenant = context.tenant().map(str::to_owned);
    (context.tool().to_owned(), tenant, remaining)
}

/// Returns what the context has inside of the layer.
async fn seen(layer: ServerLayer, request: Request<()>) -> Seen {
    let recorder = Recorder::new();
    let log = recorder.clone();
    let service = layer.layer(service_fn(move |mut request: Request<()>| {
        log.record(seen_of(request.context()));
        ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())))
    }));
    service.oneshot(request).await.expect("infallible");
    recorder.take().remove(0)
}

fn post(path: &str) -> http::request::Builder {
    Request::post(path)
}

/// The frames, then an error.
fn body_of(frames: &[&'static str], error: BoxError) -> Chunks {
    let frames: Vec<_> = frames.iter().map(|text| Ok(Bytes::from(*text))).collect();
    let frames = stream::iter(frames).chain(stream::iter([Err(error)]));
    StreamBody::new(frames.map(|frame| frame.map(Frame::data))).boxed_unsync()
}

fn respond(content_type: &'static str, body: Chunks) -> Response<Chunks> {
    let response = Response::builder().header("content-type", content_type);
    response.body(body).expect("a response")
}

#[tokio::test(start_paused = true)]
async fn only_known_methods_become_names() {
    let layer = ServerLayer::new().with_methods(["/a.Tools/Call", "a.Tools/Count"]);
    let layer = layer.with_methods(["/a.Health/Check"]);
    for (path, name) in [
        ("/a.Tools/Call", "a.Tools/Call"),
        ("/a.Tools/Count", "a.Tools/Count"),
        ("/a.Health/Check", "a.Health/Check"),
        ("/a.Tools/Call/", "POST *"),
        ("/a.Tools/Other", "POST *"),
        ("//a.Tools/Call", "POST *"),
        ("/", "POST *"),
    ] {
        let request = post(path).body(()).expect("a request");
        assert_eq!(seen(layer.clone(), request).await.0, name, "{path}");
    }
    let request = post("/a.Tools/Call").body(()).expect("a request");
    assert_eq!(seen(ServerLayer::new(), request).await.0, "POST *");
}

#[tokio::test(start_paused = true)]
async fn grpc_timeout_is_the_deadline_before_that_of_tonic() {
    for (header, remaining) in [
        (Some("300m"), Some(295)),
        (Some("2S"), Some(1_995)),
        (Some("4m"), Some(0)),
        (Some("0n"), Some(0)),
        (Some("soon"), None),
        (Some("123456789S"), None),
        (None, None),
    ] {
        let mut request = post("/a.Tools/Call");
        if let Some(header) = header {
            request = request.header("grpc-timeout", header);
        }
        let request = request.body(()).expect("a request");
        let (.., found) = seen(ServerLayer::new(), request).await;
        assert_eq!(found, remaining, "{header:?}");
    }
    // The longest that the header can have is 11,400 years: no deadline, and no panic.
    let request = post("/").header("grpc-timeout", "99999999H");
    let request = request.body(()).expect("a request");
    let (.., found) = seen(ServerLayer::new(), request).await;
    assert!(found.is_none_or(|millis| millis > 1_000_000_000_000));
}

#[tokio::test(start_paused = true)]
async fn tenant_is_what_the_function_returns() {
    let layer = ServerLayer::new().with_tenant(|head| head.header("x-verified").map(Name::from));
    let with = post("/").header("x-verified", "acme").body(());
    let (_, tenant, _) = seen(layer.clone(), with.expect("a request")).await;
    assert_eq!(tenant.as_deref(), Some("acme"));
    let without = post("/").body(()).expect("a request");
    assert_eq!(seen(layer, without).await.1, None);
}

#[tokio::test(start_paused = true)]
async fn error_before_the_head_is_a_response_of_a_status_alone() {
    let service = ServiceBuilder::new()
        .layer(ServerLayer::new())
        .layer(TimeoutLayer::new(ms(20)))
        .service(service_fn(async |_: Request<()>| {
            pending::<Result<Response<Full<Bytes>>, Infallible>>().await
        }));
    let start = Instant::now();
    let response = service.oneshot(Request::new(())).await.expect("infallible");
    assert_eq!(start.elapsed(), ms(20));
    assert_eq!(response.status(), 200);
    let headers = response.headers().clone();
    assert_eq!(headers["content-type"], "application/grpc");
    assert_eq!(headers["grpc-status"], "4");
    assert!(http_body::Body::is_end_stream(response.body()));
    let body = response.into_body().collect().await.expect("an empty body");
    assert_eq!(body.trailers(), None);
    assert_eq!(body.to_bytes().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn error_within_a_response_is_a_status_in_trailers() {
    let service = ServerLayer::new().layer(service_fn(|_: Request<()>| {
        let body = body_of(&["one", "two"], ToolError::rate_limited(ms(40)).into());
        ready(Ok::<_, Infallible>(respond("application/grpc+proto", body)))
    }));
    let response = service.oneshot(Request::new(())).await.expect("infallible");
    let body = response.into_body().collect().await.expect("no error");
    let trailers = body.trailers().expect("trailers").clone();
    assert_eq!(body.to_bytes(), "onetwo");
    assert_eq!(trailers["grpc-status"], "8");
    assert_eq!(trailers["grpc-retry-pushback-ms"], "40");
    assert!(!trailers.contains_key("content-type"));
}

#[tokio::test(start_paused = true)]
async fn body_has_ended_after_its_trailers() {
    let service = ServerLayer::new().layer(service_fn(|_: Request<()>| {
        let body = body_of(&[], ToolError::failed("no").into());
        ready(Ok::<_, Infallible>(respond("application/grpc", body)))
    }));
    let response = service.oneshot(Request::new(())).await.expect("infallible");
    let mut body = response.into_body();
    let frame = body.frame().await.expect("trailers").expect("no error");
    assert!(frame.is_trailers());
    assert!(http_body::Body::is_end_stream(&body));
    assert!(body.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn status_that_a_service_returns_stays_as_it_is() {
    let status = || Status::already_exists("number 7");
    let before = ServerLayer::new().layer(service_fn(move |_: Request<()>| {
        ready(Err::<Response<Full<Bytes>>, _>(status()))
    }));
    let response = before.oneshot(Request::new(())).await.expect("infallible");
    assert_eq!(response.headers()["grpc-status"], "6");
    assert_eq!(response.headers()["grpc-message"], "number%207");

    let within = ServerLayer::new().layer(service_fn(move |_: Request<()>| {
        let body = body_of(&[], status().into());
        ready(Ok::<_, Infallible>(respond("application/grpc", body)))
    }));
    let response = within.oneshot(Request::new(())).await.expect("infallible");
    let body = response.into_body().collect().await.expect("no error");
    assert_eq!(body.trailers().expect("trailers")["grpc-status"], "6");
}

/// A client of another server must not read what that server wrote for this one.
#[tokio::test(start_paused = true)]
async fn status_of_another_server_is_not_passed_on() {
    let service = ServerLayer::new().layer(service_fn(|_: Request<()>| {
        let upstream = Status::not_found("no row in postgres://admin:hunter2@db");
        let error = toolbooth_tonic::tool_error(upstream);
        ready(Err::<Response<Full<Bytes>>, _>(error))
    }));
    let response = service.oneshot(Request::new(())).await.expect("infallible");
    let headers = response.headers();
    assert_eq!(headers["grpc-status"], "13");
    assert_eq!(headers["grpc-message"], "the%20tool%20failed");
}

#[tokio::test(start_paused = true)]
async fn response_that_is_not_grpc_keeps_its_error() {
    for content_type in ["text/plain", "application/grpc-web+proto"] {
        let service = ServerLayer::new().layer(service_fn(move |_: Request<()>| {
            let body = body_of(&["one"], "broken".into());
            ready(Ok::<_, Infallible>(respond(content_type, body)))
        }));
        let response = service.oneshot(Request::new(())).await.expect("infallible");
        let error = response.into_body().collect().await.err();
        let error = error.expect("it is passed on");
        assert_eq!(error.to_string(), "broken", "{content_type}");
    }
}

/// A service that never becomes ready, and fails.
#[derive(Debug, Clone)]
struct Broken;

impl Service<Request<()>> for Broken {
    type Response = Response<Full<Bytes>>;
    type Error = ToolError;
    type Future = Ready<Result<Self::Response, ToolError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        Poll::Ready(Err(ToolError::circuit_open(ms(7))))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        ready(Err(ToolError::panicked("called without readiness")))
    }
}

#[tokio::test(start_paused = true)]
async fn error_of_readiness_is_the_status_of_the_next_call() {
    let mut service = ServerLayer::new().layer(Broken);
    service.ready().await.expect("infallible");
    let response = service.call(Request::new(())).await.expect("infallible");
    assert_eq!(response.headers()["grpc-status"], "14");
    assert_eq!(response.headers()["grpc-retry-pushback-ms"], "7");
}

#[test]
fn types_are_send_sync_and_clone() {
    fn check<T: Clone + Send + Sync + std::fmt::Debug>(_: &T) {}
    let layer = ServerLayer::new().with_methods(["/a.B/C"]);
    check(&layer);
    check(&layer.layer(Broken));
    check(&toolbooth_tonic::ClientLayer::new());
    check(&toolbooth_tonic::ClientLayer::new().layer(Broken));
    check(&toolbooth_tonic::ChannelLayer::new().layer(Broken));
    let text = format!("{layer:?}");
    assert!(text.contains("a.B/C"), "{text}");
}
