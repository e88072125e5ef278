//! The streamable HTTP transport.

mod link;
mod options;
mod run;
mod session;
mod sessions;

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use rmcp::model::ServerJsonRpcMessage;
use rmcp::transport::StreamableHttpService;
use tokio_util::sync::CancellationToken;
use toolbooth::Name;
use tower_service::Service;

pub(super) use self::link::Link;
pub use self::options::HttpOptions;
pub(super) use self::session::Session;
use self::sessions::{REQUEST, Sessions};
use super::McpServer;

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// The body of a response.
pub type HttpBody = BoxBody<Bytes, Infallible>;

/// A server on the streamable HTTP transport: a service of requests. Made by
/// [`McpServer::into_http`].
///
/// ```no_run
/// use toolbooth::{BoxError, Toolbox};
/// use toolbooth_mcp::{HttpOptions, McpServer};
///
/// # async fn serve(toolbox: Toolbox) -> Result<(), BoxError> {
/// let service = McpServer::new(toolbox).into_http(HttpOptions::new());
/// let app = axum::Router::new().nest_service("/mcp", service);
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
/// axum::serve(listener, app).await?;
/// # Ok(()) }
/// # fn main() { let _ = serve; }
/// ```
///
/// Clones share the sessions.
#[derive(Clone)]
pub struct HttpService {
    inner: Arc<StreamableHttpService<McpServer, Sessions>>,
    sessions: Arc<Sessions>,
    closed: CancellationToken,
}

/// The owner of a session, in the extensions of a request: the user that a token belongs to.
///
/// A layer outside adds it. A session belongs to the owner of the request that began it, and
/// requests of other owners receive 404, as if it did not exist. So the id of a session is of no
/// use to another user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionOwner(Name);

// === impl SessionOwner ===

impl SessionOwner {
    /// Creates the owner of this name.
    #[must_use]
    pub fn new(name: impl Into<Name>) -> Self {
        Self(name.into())
    }
}

// === impl McpServer ===

impl McpServer {
    /// Converts the server into a service of HTTP requests.
    #[must_use]
    pub fn into_http(self, options: HttpOptions) -> HttpService {
        let sessions = Arc::new(Sessions::new(self.clone(), &options));
        let closed = CancellationToken::new();
        let config = options
            .into_config()
            .with_cancellation_token(closed.clone());
        let server = move || Ok(self.clone());
        HttpService {
            inner: Arc::new(StreamableHttpService::new(
                server,
                Arc::clone(&sessions),
                config,
            )),
            sessions,
            closed,
        }
    }
}

// === impl HttpService ===

impl HttpService {
    /// Ends all sessions, streams and calls. Further requests receive 503.
    ///
    /// A server calls it after its [`ShutdownLayer`](toolbooth::ShutdownLayer) has ended the calls,
    /// since clients keep streams open on which nothing ends.
    pub fn close(&self) {
        self.closed.cancel();
    }
}

impl<B> Service<Request<B>> for HttpService
where
    B: Body<Data: Send, Error: fmt::Display> + Send + 'static,
{
    type Response = Response<HttpBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<HttpBody>, Infallible>>;

    /// Always ready.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.respond(request).await) })
    }
}

impl HttpService {
    async fn respond<B>(&self, request: Request<B>) -> Response<HttpBody>
    where
        B: Body<Data: Send, Error: fmt::Display> + Send + 'static,
    {
        if self.closed.is_cancelled() {
            return unavailable("the server is shutting down");
        }
        let owner = request.extensions().get::<SessionOwner>().cloned();
        let session = request.headers().get(SESSION_ID).cloned();
        let session = session.as_ref().and_then(|id| id.to_str().ok());
        if session.is_some_and(|id| !self.sessions.admits(id, owner.as_ref())) {
            return unknown_session();
        }
        let scope = Arc::new(sessions::Request {
            owner,
            ..Default::default()
        });
        let handled = self.inner.handle(request);
        let response = REQUEST.scope(Arc::clone(&scope), handled).await;
        if let Some(message) = scope.response.get() {
            return json(message);
        }
        if scope.is_rejected.load(Ordering::Relaxed) {
            return unavailable("there are too many sessions");
        }
        // The session was closed while the request was handled.
        let is_failed = response.status() == StatusCode::INTERNAL_SERVER_ERROR;
        match is_failed && session.is_some_and(|id| !self.sessions.is_open(id)) {
            true => unknown_session(),
            false => response,
        }
    }
}

/// The seconds until a client tries again.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// Makes the response to a request whose only message is its response.
fn json(message: &ServerJsonRpcMessage) -> Response<HttpBody> {
    match serde_json::to_vec(message) {
        Ok(body) => {
            let mut response = Response::new(Full::from(body).boxed());
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(CONTENT_TYPE, json);
            response
        }
        Err(error) => {
            tracing::error!(%error, "a response cannot be written");
            text(StatusCode::INTERNAL_SERVER_ERROR, "an internal error")
        }
    }
}

fn unknown_session() -> Response<HttpBody> {
    text(StatusCode::NOT_FOUND, "Not Found: Session not found")
}

fn unavailable(message: &'static str) -> Response<HttpBody> {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, message);
    response.headers_mut().insert(RETRY_AFTER, RETRY_SECONDS);
    response
}

fn text(status: StatusCode, message: &'static str) -> Response<HttpBody> {
    let mut response = Response::new(Full::from(message).boxed());
    *response.status_mut() = status;
    response
}

impl fmt::Debug for HttpService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpService")
            .field("sessions", &self.sessions)
            .finish_non_exhaustive()
    }
}
