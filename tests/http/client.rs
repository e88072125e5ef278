//! Clients that speak properly.

use std::sync::MutexGuard;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::AbortHandle;

use super::*;

/// A well-behaved client of either protocol.
#[derive(Debug, Clone)]
pub(crate) struct Polite {
    client: Client<HttpConnector, Body>,
    pub(crate) http2: bool,
}

/// One request on a connection of its own over HTTP/2, which reads its answer to the end. Dropping it
/// drops the connection, in whatever state it is.
#[derive(Debug)]
pub(crate) struct Http2 {
    request: JoinHandle<()>,
    tasks: Tasks,
}

/// All tasks of a connection: hyper starts some of its own.
#[derive(Debug, Clone, Default)]
struct Tasks(Arc<Mutex<Vec<AbortHandle>>>);

// === impl Polite ===

impl Polite {
    pub(crate) fn both() -> [Self; 2] {
        [false, true].map(|http2| Self {
            client: Client::builder(TokioExecutor::new())
                .http2_only(http2)
                .build_http(),
            http2,
        })
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        server: SocketAddr,
        path: &str,
        json: &'static str,
    ) -> Response<Incoming> {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{server}{path}"))
            .header("content-type", "application/json")
            .body(Body::from(json))
            .expect("a request");
        let answer = self.client.request(request);
        let answer = tokio::time::timeout(PATIENCE, answer).await;
        answer.expect("in time").expect("an answer")
    }

    pub(crate) async fn get(&self, server: &Server, path: &str) -> Response<Incoming> {
        self.send(Method::GET, server.address, path, "").await
    }
}

// === impl Http2 ===

impl Http2 {
    pub(crate) async fn ask(server: &Server, path: &str) -> Self {
        let tasks = Tasks::default();
        let io = TokioIo::new(server.connect().await);
        let (mut client, connection) = http2::handshake(tasks.clone(), io)
            .await
            .expect("a handshake");
        tasks.spawn(connection);
        let request = Request::get(format!("http://{}{path}", server.address));
        let request = request.body(Body::empty()).expect("a request");
        let request = tokio::spawn(async move {
            // It fails where it is dropped.
            if let Ok(answer) = client.send_request(request).await {
                let _ = answer.into_body().collect().await;
            }
        });
        Self { request, tasks }
    }

    /// Resets the one stream; the connection stays.
    pub(crate) fn reset(&self) {
        self.request.abort();
    }
}

impl Drop for Http2 {
    fn drop(&mut self) {
        self.request.abort();
        for task in self.tasks.lock().drain(..) {
            task.abort();
        }
    }
}

// === impl Tasks ===

impl Tasks {
    fn spawn(&self, task: impl Future<Output: Send> + Send + 'static) {
        let task = tokio::spawn(task);
        self.lock().push(task.abort_handle());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<AbortHandle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: Future<Output: Send> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.spawn(task);
    }
}
