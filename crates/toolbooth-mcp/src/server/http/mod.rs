//! The streamable HTTP transport.

mod options;

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body::Body;
use http_body_util::combinators::BoxBody;
use rmcp::transport::StreamableHttpService;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use tower_service::Service;

pub use self::options::HttpOptions;
use super::McpServer;

/// The body of a response.
pub type HttpBody = BoxBody<Bytes, Infallible>;

/// A server on the streamable HTTP transport: a service of requests. Made by
/// [`McpServer::into_http`].
///
/// Clones share the sessions.
#[derive(Clone)]
pub struct HttpService {
    inner: StreamableHttpService<McpServer, LocalSessionManager>,
}

// === impl McpServer ===

impl McpServer {
    /// Converts the server into a service of HTTP requests.
    #[must_use]
    pub fn into_http(self, options: HttpOptions) -> HttpService {
        let sessions = Arc::new(LocalSessionManager::default());
        HttpService {
            inner: StreamableHttpService::new(
                move || Ok(self.clone()),
                sessions,
                options.into_config(),
            ),
        }
    }
}

// === impl HttpService ===

impl<B> Service<Request<B>> for HttpService
where
    B: Body<Data: Send, Error: fmt::Display> + Send + 'static,
{
    type Response = Response<HttpBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<HttpBody>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.inner.call(request)
    }
}

impl fmt::Debug for HttpService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpService").finish_non_exhaustive()
    }
}
