//! Well-behaved clients.

use std::sync::MutexGuard;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::AbortHandle;

use super::*;

/// A client of one of the protocols.
#[derive(Debug, Clone)]
pub(crate) struct Polite {
    client: Client<HttpConnector, Body>,
    pub(crate) http2: bool,
}

/// One HTTP/2 request on its own connection, whose response is read to the end.
///
/// Its drop drops the connection.
#[derive(Debug)]
pub(crate) struct Http2 {
    request: JoinHandle<()>,
    tasks: Tasks,
}

/// All tasks of a connection, including those that hyper spawns.
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
        let response = self.client.request(request);
        let response = tokio::time::timeout(PATIENCE, response).await;
        response.expect("in time").expect("a response")
    }

    pub(crate) async fn get(&self, server: &Server, path: &str) -> Response<Incoming> {
        self.send(Method::GET, server.address, path, "").await
    }
}

// === impl Http2 ===

impl Http2 {
    pub(crate) async fn request(server: &Server, path: &str) -> Self {
        let tasks = Tasks::default();
        let io = TokioIo::new(server.connect().await);
        let (mut client, connection) = http2::handshake(tasks.clone(), io)
            .await
            .expect("a handshake");
        tasks.spawn(connection);
        let request = Request::get(format!("http://{}{path}", server.address));
        let request = request.body(Body::empty()).expect("a request");
        let request = tokio::spawn(async move {
            // It fails if the stream is reset.
            if let Ok(response) = client.send_request(request).await {
                let _ = response.into_body().collect().await;
            }
        });
        Self { request, tasks }
    }

    /// Resets the stream and keeps the connection.
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
