//! Real servers and real clients, over loopback and in real time: what a client is told, when a call ends, and
//! that whatever the client does, the call gives back what it took.
//!
//! Nothing here waits for luck: what has to happen is waited for, for ten seconds at most, and what has to have happened by
//! an instant is looked at by a timer of that instant on the same runtime, which fires behind all earlier ones.

mod client;
mod clients;
mod ends;
mod grpc;
mod many;
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
use tower::util::MapRequestLayer;

const PATIENCE: Duration = Duration::from_secs(10);

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// So many calls at once, and nothing else that could be in the way.
fn limits(at_once: usize) -> Limits {
    let mut limits = Limits::new();
    limits.timeout = TimeoutLayer::new(Duration::from_secs(60));
    limits.rate = RateLimitLayer::new(None);
    limits.at_once = ConcurrencyLimitLayer::new(at_once);
    limits.cleanup = CleanupLayer::new();
    limits
}

/// Waits until it is so.
async fn eventually(what: &str, so: impl Fn() -> bool) {
    let patience = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < patience, "it never came to it: {what}");
        sleep(ms(1)).await;
    }
}

/// What the calls of a server were told.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Told>>);

#[derive(Debug, Default)]
struct Told {
    calls: Vec<Instant>,
    outcomes: Vec<Outcome>,
}

/// A server on a port of its own, gone with the value.
#[derive(Debug)]
struct Server {
    address: SocketAddr,
    limits: Limits,
    log: Log,
    task: JoinHandle<()>,
}

// === impl Log ===

impl Log {
    fn with<T>(&self, look: impl FnOnce(&mut Told) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A call begins; its hook will tell how it ended.
    fn follow<B>(&self, mut request: http::Request<B>) -> http::Request<B> {
        self.with(|told| told.calls.push(Instant::now()));
        let log = self.clone();
        request.context().on_cleanup(move |outcome| async move {
            log.with(|told| told.outcomes.push(outcome));
        });
        request
    }

    fn calls(&self) -> usize {
        self.with(|told| told.calls.len())
    }

    fn hooks(&self) -> usize {
        self.with(|told| told.outcomes.len())
    }

    fn count(&self, outcome: Outcome) -> usize {
        self.with(|told| {
            told.outcomes
                .iter()
                .filter(|told| **told == outcome)
                .count()
        })
    }
}

// === impl Server ===

impl Server {
    /// These routes behind these limits. Every call is followed from outside of all layers.
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
            axum::serve(listener, app).await.expect("it serves");
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

    /// All calls so far ended so, each with its hook run once, and nothing is held any more.
    async fn ended(&self, case: &str, outcomes: &[Outcome]) {
        let what = format!("{case}: the calls end");
        eventually(&what, || self.log.hooks() >= self.log.calls()).await;
        let told = self.log.with(|told| told.outcomes.clone());
        assert_eq!(
            (told.as_slice(), self.log.calls()),
            (outcomes, outcomes.len()),
            "{case}"
        );
        let what = format!("{case}: the permits are back");
        eventually(&what, || self.in_flight() == 0).await;
        self.log.with(|told| *told = Told::default());
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("it listens")
    }

    /// A connection on which this was asked, by hand.
    async fn ask(&self, head: &str) -> TcpStream {
        let mut stream = self.connect().await;
        let request = format!("{head} HTTP/1.1\r\nhost: {}\r\n\r\n", self.address);
        stream
            .write_all(request.as_bytes())
            .await
            .expect("it reads");
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

/// The head of an answer, read by hand, and what of its body came with it.
async fn head(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut read = Vec::new();
    loop {
        let ends = read.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        if let Some(end) = ends {
            let rest = read.split_off(end + 4);
            return (String::from_utf8(read).expect("a head is a text"), rest);
        }
        let count = stream.read_buf(&mut read).await.expect("an answer");
        assert_ne!(count, 0, "the connection ended within the head");
    }
}

/// A body that never ends.
fn endless() -> Body {
    let chunk = Bytes::from(vec![b'x'; 64 * 1024]);
    Body::from_stream(stream::repeat(chunk).map(Ok::<_, Infallible>))
}
