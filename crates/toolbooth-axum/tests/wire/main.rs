//! Real servers and clients over loopback, on the real clock: what is about the wire.
//!
//! The tests wait for events, ten seconds at most, and not for time.

mod clients;
mod hostile;
mod many;
mod shutdown;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use futures_util::{StreamExt, stream};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use toolbooth::{
    BoxError, CallContext, CleanupLayer, ConcurrencyLimitLayer, ShutdownLayer, Toolbox,
    stream_tool_fn, tool_fn,
};
use toolbooth_axum::ToolRouter;
use tower::ServiceBuilder;

const PATIENCE: Duration = Duration::from_secs(10);

/// A server of tools, which is aborted on drop.
struct Server {
    address: SocketAddr,
    limit: ConcurrencyLimitLayer,
    shutdown: ShutdownLayer,
    cleanup: CleanupLayer,
    /// Each permit is for one step of the tool `steps`, after the first.
    gate: Arc<Semaphore>,
    task: JoinHandle<()>,
}

/// A client of one of the protocols.
#[derive(Clone)]
struct Polite {
    client: Client<HttpConnector, Body>,
    http2: bool,
}

/// Waits until the condition is true.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < limit, "it did not happen: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Waits for a future, for ten seconds at most.
async fn in_time<F: Future>(future: F) -> F::Output {
    let result = tokio::time::timeout(PATIENCE, future).await;
    result.expect("it ends in time")
}

fn tools(gate: &Arc<Semaphore>) -> Toolbox {
    let steps = Arc::clone(gate);
    let steps = stream_tool_fn("steps", move |call: CallContext, _: ()| {
        // It makes the cleanup layer count the call.
        call.on_cleanup(|_| async {});
        stream::unfold((0, Arc::clone(&steps)), async |(step, gate)| {
            if step > 0 {
                gate.acquire().await.ok()?.forget();
            }
            let item = Ok::<_, BoxError>(format!("step {step}").into());
            Some((item, (step + 1, gate)))
        })
    });
    let endless = stream_tool_fn("endless", |_: ()| {
        let item = "x".repeat(16 * 1024);
        stream::repeat_with(move || Ok::<_, BoxError>(item.clone().into()))
    });
    let hangs = tool_fn("hangs", |call: CallContext, _: ()| {
        call.on_cleanup(|_| async {});
        call.emit("begun");
        std::future::pending::<Result<(), BoxError>>()
    });
    let echo = tool_fn("echo", async |args: serde_json::Value| {
        Ok::<_, BoxError>(args)
    });
    Toolbox::builder()
        .tool("steps", steps)
        .tool("endless", endless)
        .tool("hangs", hangs)
        .tool("echo", echo)
        .build()
        .expect("a toolbox")
}

fn request(address: SocketAddr, tool: &str, accept: &str) -> Request<Body> {
    Request::post(format!("http://{address}/tools/{tool}"))
        .header("accept", accept)
        .body(Body::empty())
        .expect("a request")
}

// === impl Server ===

impl Server {
    async fn start() -> Self {
        Self::with(|router| router).await
    }

    /// Starts a server of the tools, whose router has these settings.
    async fn with(settings: impl FnOnce(ToolRouter) -> ToolRouter) -> Self {
        let (limit, shutdown) = (ConcurrencyLimitLayer::new(1_000), ShutdownLayer::new());
        let (cleanup, gate) = (CleanupLayer::new(), Arc::new(Semaphore::new(0)));
        let toolbox = tools(&gate);
        let limited = ServiceBuilder::new()
            .layer(shutdown.clone())
            .layer(limit.clone())
            .layer(cleanup.clone())
            .service(toolbox.clone());
        let app: Router = settings(ToolRouter::with_service(toolbox, limited)).into_router();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let task = tokio::spawn(async move {
            axum::serve(listener, app).await.expect("a server");
        });
        Self {
            address,
            limit,
            shutdown,
            cleanup,
            gate,
            task,
        }
    }

    /// Waits until no call holds anything.
    async fn idle(&self, case: &str) {
        let (limit, shutdown) = (&self.limit, &self.shutdown);
        let idle = || limit.in_flight() + limit.queued() + shutdown.in_flight() == 0;
        eventually(&format!("{case}: all is released"), idle).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl Polite ===

impl Polite {
    fn both() -> [Self; 2] {
        [false, true].map(|http2| Self {
            client: Client::builder(TokioExecutor::new())
                .http2_only(http2)
                .build_http(),
            http2,
        })
    }

    async fn send(&self, request: Request<Body>) -> Response<Incoming> {
        in_time(self.client.request(request))
            .await
            .expect("a response")
    }

    async fn call(&self, server: &Server, tool: &str, accept: &str) -> Response<Incoming> {
        self.send(request(server.address, tool, accept)).await
    }
}

/// Reads the next frame of a body as text.
async fn chunk(body: &mut Incoming) -> String {
    let frame = in_time(body.frame()).await.expect("more");
    let data = frame.expect("no error").into_data().expect("data");
    String::from_utf8(data.into()).expect("a text")
}

async fn rest(body: Incoming) -> Bytes {
    let body = in_time(body.collect()).await;
    body.expect("a complete body").to_bytes()
}
