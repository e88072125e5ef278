//! Shutdown of a whole server: an application of axum on loopback, on the real clock, with calls
//! in every state.
#![cfg(unix)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::error_handling::HandleErrorLayer;
use axum::extract::Request;
use axum::response::IntoResponse;
use axum::response::sse::{Event, Sse};
use axum::routing::get;
use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use toolbooth::{
    CallContext, CleanupLayer, CommandTool, ConcurrencyLimitLayer, DrainReport, Outcome,
    PartialResultLayer, ShutdownLayer, ToolCall, ToolError, ToolOutput, ToolRequest,
};
use toolbooth_test::{BoxTool, Probe, Recorder, boxed, cancel_reason, ms};
use toolbooth_tests::{hanging, tool};
use tower::{ServiceBuilder, ServiceExt};

const PATIENCE: Duration = Duration::from_secs(10);

/// A server that shuts down when `stop` is used, and the result of its `serve`.
struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<DrainReport>,
}

impl Server {
    async fn start(routes: Router, shutdown: &ShutdownLayer, grace: Duration) -> Self {
        let app = routes.layer(
            ServiceBuilder::new()
                .layer(HandleErrorLayer::new(async |error: ToolError| {
                    let mut response = error.status().into_response();
                    if let Some(seconds) = error.retry_after_seconds() {
                        response.headers_mut().insert("retry-after", seconds.into());
                    }
                    response
                }))
                .layer(shutdown.clone()),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = shutdown.clone();
        let served = tokio::spawn(async move {
            let (sender, report) = oneshot::channel();
            let signal = async move {
                let _ = stopped.await;
                let _ = sender.send(shutdown.shutdown(grace, Duration::from_secs(5)).await);
            };
            let serve = axum::serve(listener, app).with_graceful_shutdown(signal);
            serve.await.expect("a server that stops");
            report.await.expect("the report")
        });
        Self {
            address,
            stop,
            served,
        }
    }

    /// Sends a request, and returns the connection.
    async fn request(&self, path: &str) -> TcpStream {
        let mut connection = TcpStream::connect(self.address).await.expect("accepted");
        let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n");
        connection
            .write_all(request.as_bytes())
            .await
            .expect("written");
        connection
    }
}

/// Reads until the text has come.
async fn read_until(connection: &mut TcpStream, text: &str) -> String {
    let read = async {
        let mut seen = Vec::new();
        loop {
            let seen_text = String::from_utf8_lossy(&seen).into_owned();
            if seen_text.contains(text) {
                return seen_text;
            }
            let read = connection.read_buf(&mut seen).await.expect("readable");
            assert!(read > 0, "closed after {seen_text}");
        }
    };
    timeout(PATIENCE, read).await.expect("the text")
}

/// Reads to the end of the connection.
async fn read_to_end(mut connection: TcpStream) -> String {
    let mut seen = Vec::new();
    let read = connection.read_to_end(&mut seen);
    timeout(PATIENCE, read)
        .await
        .expect("an end")
        .expect("readable");
    String::from_utf8_lossy(&seen).into_owned()
}

/// Waits until the condition is true.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < limit, "it did not happen: {what}");
        sleep(ms(1)).await;
    }
}

/// Server-sent events without an end.
fn events() -> Router {
    let events = async || {
        let ticks = stream::unfold((), async |()| {
            sleep(ms(5)).await;
            Some((Ok::<_, Infallible>(Event::default().data("tick")), ()))
        });
        Sse::new(ticks)
    };
    Router::new().route("/events", get(events))
}

/// Case E2. Without the shutdown the stream, and with it `serve`, would never end.
#[tokio::test]
async fn endless_events_end_with_the_grace_and_serve_returns() {
    let shutdown = ShutdownLayer::new();
    let server = Server::start(events(), &shutdown, ms(100)).await;
    let mut connection = server.request("/events").await;
    read_until(&mut connection, "tick").await;
    server.stop.send(()).expect("a server");
    let report = timeout(PATIENCE, server.served).await;
    let report = report.expect("`serve` returns").expect("no panic");
    assert_eq!(
        (report.completed, report.cancelled, report.orphaned),
        (0, 1, 0)
    );
    // The body ends without its last chunk: the client does not take it for complete.
    let rest = read_to_end(connection).await;
    assert!(!rest.ends_with("0\r\n\r\n"), "{rest}");
    assert_eq!(shutdown.in_flight(), 0);
}

#[tokio::test]
async fn requests_during_the_grace_receive_503_and_a_time_to_retry() {
    let shutdown = ShutdownLayer::new().with_retry_after(Duration::from_secs(7));
    let server = Server::start(events(), &shutdown, Duration::from_secs(60)).await;
    let mut connection = server.request("/events").await;
    read_until(&mut connection, "tick").await;
    server.stop.send(()).expect("a server");
    eventually("the shutdown", || shutdown.is_shutting_down()).await;
    let mut rejected = TcpStream::connect(server.address).await.expect("accepted");
    let request = "GET /events HTTP/1.1\r\nhost: test\r\n\r\n";
    rejected
        .write_all(request.as_bytes())
        .await
        .expect("written");
    let head = read_until(&mut rejected, "\r\n\r\n").await.to_lowercase();
    assert!(head.starts_with("http/1.1 503 "), "{head}");
    assert!(head.contains("\r\nretry-after: 7\r\n"), "{head}");
    // The client disconnects, so the grace is over.
    drop((connection, rejected));
    let report = timeout(PATIENCE, server.served).await;
    let report = report.expect("`serve` returns").expect("no panic");
    assert_eq!((report.completed, report.cancelled), (1, 0));
}

/// A tool that blocks a thread until its call is over.
fn blocking(started: &Probe) -> BoxTool {
    let started = started.clone();
    tool(move |context: CallContext| {
        let inside = started.enter();
        let work = context.spawn_blocking(move |flag| {
            let _inside = inside;
            while !flag.is_cancelled() {
                std::thread::park_timeout(ms(1));
            }
        });
        async move {
            work.await?;
            Ok::<_, ToolError>("done")
        }
    })
}

fn command() -> CommandTool {
    CommandTool::new("sleep", "sh")
        .with_inherited_env(["PATH"])
        .with_args([
            "-c",
            "trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done",
        ])
        .expect("a valid template")
}

/// A call on a task that must be cancelled by the shutdown.
fn start(stack: &BoxTool, hooks: &Recorder<Outcome>) -> JoinHandle<Result<ToolOutput, ToolError>> {
    let call = ToolCall::new("tool", json!(null));
    call.context().on_cleanup(hooks.hook());
    tokio::spawn(stack.clone().oneshot(call))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_of_a_server_ends_and_is_counted() {
    let (shutdown, cleanup) = (ShutdownLayer::new(), CleanupLayer::new());
    let limit = ConcurrencyLimitLayer::new(1);
    let (hooks, inside, blocked) = (Recorder::new(), Probe::new(), Probe::new());
    let stack = |tool: BoxTool, limit: &ConcurrencyLimitLayer| {
        boxed(
            ServiceBuilder::new()
                .layer(shutdown.clone())
                .layer(limit.clone())
                .layer(cleanup.clone())
                .layer(PartialResultLayer::new())
                .service(tool),
        )
    };
    let free = ConcurrencyLimitLayer::new(8);
    let limited = stack(hanging(&inside), &limit);
    let program = stack(boxed(command()), &free);
    let work = stack(blocking(&blocked), &free);

    // A request whose handler streams, one with events, and a handler that waits.
    let wait = async |mut request: Request| {
        request.context().on_cleanup(async |_| ());
        std::future::pending::<()>().await;
    };
    let body = async || {
        let first = stream::iter([Ok::<_, Infallible>(Bytes::from("first"))]);
        Body::from_stream(first.chain(stream::pending()))
    };
    let routes = events().route("/body", get(body)).route("/wait", get(wait));
    let server = Server::start(routes, &shutdown, Duration::from_secs(1)).await;
    let mut events = server.request("/events").await;
    read_until(&mut events, "tick").await;
    let mut body = server.request("/body").await;
    read_until(&mut body, "first").await;
    let waiting = server.request("/wait").await;

    let running = [
        start(&limited, &hooks),
        start(&limited, &hooks),
        start(&limited, &hooks),
    ];
    let blocking = start(&work, &hooks);
    let call = ToolCall::new("sleep", json!({}));
    call.context().on_cleanup(hooks.hook());
    let context = call.context().clone();
    let program = tokio::spawn(program.oneshot(call));
    eventually("all calls are in flight", || {
        shutdown.in_flight() == 8 && limit.queued() == 2 && blocked.running() == 1
    })
    .await;
    eventually("the program runs", || {
        context
            .partial()
            .is_some_and(|partial| !partial.contents().is_empty())
    })
    .await;

    let started = Instant::now();
    server.stop.send(()).expect("a server");
    let report = timeout(PATIENCE, server.served).await;
    let report = report.expect("`serve` returns").expect("no panic");
    let took = started.elapsed();
    assert!(took >= Duration::from_secs(1), "the grace: {took:?}");
    assert_eq!(
        (report.completed, report.cancelled, report.orphaned),
        (0, 8, 0)
    );
    for call in running.into_iter().chain([blocking, program]) {
        let error = call.await.expect("no panic").expect_err("cancelled");
        let reason = cancel_reason(&error);
        assert_eq!(reason, Some(toolbooth::CancelReason::Shutdown), "{error}");
    }
    // The tool of the limit was called once: the waiters never started.
    assert_eq!((inside.started(), inside.running()), (1, 0));
    assert_eq!((blocked.running(), limit.in_flight()), (0, 0));
    assert_eq!(hooks.values(), [Outcome::Cancelled; 5]);
    for connection in [events, body, waiting] {
        let _ = read_to_end(connection).await;
    }
}
