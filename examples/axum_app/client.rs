use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{Method, Request, Response};
use http_body_util::BodyExt;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::time::Instant;
use toolbooth::BoxError;

/// A client of the server.
pub(crate) struct Client {
    client: legacy::Client<HttpConnector, Body>,
    server: SocketAddr,
}

/// The response to a request.
pub(crate) struct Reply {
    request: String,
    pub(crate) status: u16,
    retry_after: Option<String>,
    body: Vec<Bytes>,
    /// The error of the body, if it ended early.
    error: Option<BoxError>,
    took: Duration,
}

// === impl Client ===

impl Client {
    pub(crate) fn new(server: SocketAddr) -> Self {
        Self {
            client: legacy::Client::builder(TokioExecutor::new()).build_http(),
            server,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, "").await
    }

    pub(crate) async fn post(&self, path: &str, json: &'static str) -> Reply {
        self.send(Method::POST, path, json).await
    }

    /// Waits until concurrent requests have started.
    pub(crate) async fn after_a_moment(&self, path: &str) -> Reply {
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.get(path).await
    }

    pub(crate) async fn send(&self, method: Method, path: &str, json: &'static str) -> Reply {
        let start = Instant::now();
        let line = format!("{method} {path} {json}");
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.server))
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(json))
            .expect("the paths are valid");
        let response = self.client.request(request).await;
        let response = response.expect("the server runs on loopback");
        let retry_after = response.headers().get(RETRY_AFTER);
        let mut reply = Reply {
            request: line,
            status: response.status().as_u16(),
            retry_after: retry_after
                .map(|seconds| String::from_utf8_lossy(seconds.as_bytes()).into_owned()),
            body: Vec::new(),
            error: None,
            took: Duration::ZERO,
        };
        reply.read(response).await;
        reply.took = start.elapsed();
        reply
    }
}

// === impl Reply ===

impl Reply {
    async fn read<B>(&mut self, response: Response<B>)
    where
        B: axum::body::HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
    {
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => self.body.extend(frame.into_data().ok()),
                Err(error) => {
                    self.error = Some(error.into());
                    break;
                }
            }
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            request, status, ..
        } = self;
        write!(f, "{request} -> {status}")?;
        if let Some(seconds) = &self.retry_after {
            write!(f, ", retry after {seconds} s")?;
        }
        for chunk in &self.body {
            let text = String::from_utf8_lossy(chunk);
            write!(f, " {}", text.replace('\n', "\\n"))?;
        }
        if let Some(error) = &self.error {
            write!(f, " then error: {error}")?;
        }
        write!(f, " ({} ms)", self.took.as_millis())
    }
}
