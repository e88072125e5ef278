//! Real servers and real clients over loopback, on the real clock.
//!
//! The tests check what a client receives, when its call ends, and that everything is released
//! whatever the client does. Expected events are awaited for ten seconds at most. What must have
//! happened by an instant is checked by a timer of the same runtime.

mod client;
mod clients;
mod ends;
mod grpc;
mod many;
mod public;
mod responses;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use client::{Http2, Polite};
use futures_util::{StreamExt, stream};
use http::{Method, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use toolbooth::{
    CleanupLayer, ConcurrencyLimitLayer, Outcome, RateLimitLayer, TimeoutLayer, ToolRequest,
};
use toolbooth_examples::servers::{Limits, http::around};
use toolbooth_test::ms;
use tower::util::MapRequestLayer;

const PATIENCE: Duration = Duration::from_secs(10);

/// A limit on concurrent calls, and no other limit that a test could reach.
fn limits(at_once: usize) -> Limits {
    let mut limits = Limits::new();
    limits.timeout = TimeoutLayer::new(Duration::from_secs(60));
    limits.rate = RateLimitLayer::new(None);
    limits.at_once = ConcurrencyLimitLayer::new(at_once);
    limits.cleanup = CleanupLayer::new();
    limits
}

/// Waits until the condition is true.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < limit, "it did not happen: {what}");
        sleep(ms(1)).await;
    }
}

/// The calls of a server and their outcomes.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    calls: Vec<Instant>,
    outcomes: Vec<Outcome>,
}

/// A server on its own port that is aborted on drop.
#[derive(Debug)]
struct Server {
    address: SocketAddr,
    limits: Limits,
    log: Log,
    task: JoinHandle<()>,
}

// === impl Log ===

impl Log {
    fn with<T>(&self, read: impl FnOnce(&mut Entries) -> T) -> T {
        read(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Records the start of a call, and its outcome by a hook.
    fn follow<B>(&self, mut request: http::Request<B>) -> http::Request<B> {
        self.with(|entries| entries.calls.push(Instant::now()));
        let log = self.clone();
        request.context().on_cleanup(move |outcome| async move {
            log.with(|entries| entries.outcomes.push(outcome));
        });
        request
    }

    fn calls(&self) -> usize {
        self.with(|entries| entries.calls.len())
    }

    fn hooks(&self) -> usize {
        self.with(|entries| entries.outcomes.len())
    }

    fn count(&self, outcome: Outcome) -> usize {
        self.with(|entries| {
            let outcomes = entries.outcomes.iter();
            outcomes.filter(|found| **found == outcome).count()
        })
    }
}

// === impl Server ===

impl Server {
    /// Starts a server of these routes inside these limits; the log is outside of all layers.
    async fn start(routes: Router, limits: Limits) -> Self {
        let log = Log::default();
        let follow = log.clone();
        let follow = MapRequestLayer::new(move |request: Request| follow.follow(request));
        let routes = around(routes, &limits).layer(follow);
        Self::serve(routes, limits, log).await
    }

    async fn serve(app: Router, limits: Limits, log: Log) -> Self {
        let (listener, address) = listen().await;
        let task = tokio::spawn(async move {
            axum::serve(listener, app).await.expect("a server");
        });
        Self {
            address,
            limits,
            log,
            task,
        }
    }

    fn in_flight(&self) -> usize {
        self.limits.at_once.in_flight()
    }

    /// Asserts that all calls so far ended with these outcomes and released their permits.
    async fn ended(&self, case: &str, outcomes: &[Outcome]) {
        let what = format!("{case}: the calls end");
        eventually(&what, || self.log.hooks() >= self.log.calls()).await;
        let found = self.log.with(|entries| entries.outcomes.clone());
        let calls = self.log.calls();
        assert_eq!((&*found, calls), (outcomes, outcomes.len()), "{case}");
        let what = format!("{case}: the permits are released");
        eventually(&what, || self.in_flight() == 0).await;
        self.log.with(|entries| *entries = Entries::default());
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address)
            .await
            .expect("a connection")
    }

    /// Sends a request on its own connection, without a client library.
    async fn request(&self, head: &str) -> TcpStream {
        let mut stream = self.connect().await;
        let request = format!("{head} HTTP/1.1\r\nhost: {}\r\n\r\n", self.address);
        let written = stream.write_all(request.as_bytes()).await;
        written.expect("the server reads");
        stream
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    (listener, address)
}

/// Reads the head of a response, and the part of its body that came with it.
async fn head(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut read = Vec::new();
    loop {
        let ends = read.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        if let Some(end) = ends {
            let rest = read.split_off(end + 4);
            return (String::from_utf8(read).expect("a head is a text"), rest);
        }
        let count = stream.read_buf(&mut read).await.expect("a response");
        assert_ne!(count, 0, "the connection ended within the head");
    }
}

/// A body that never ends.
fn endless() -> Body {
    let chunk = Bytes::from(vec![b'x'; 64 * 1024]);
    Body::from_stream(stream::repeat(chunk).map(Ok::<_, Infallible>))
}
