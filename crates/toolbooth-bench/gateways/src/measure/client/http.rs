//! A client over streamable HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Response, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::{Endpoint, Generation, Reply, initialize, initialized};
use crate::Error;

/// A client over streamable HTTP: one connection for requests, one for the server's stream.
pub struct Http {
    endpoint: Endpoint,
    generation: Generation,
    sender: SendRequest<Full<Bytes>>,
    session: Option<String>,
    next: u64,
    /// Progress that arrived in the server's own stream.
    stray: Arc<AtomicUsize>,
    stream: Option<AbortHandle>,
}

// === impl Http ===

impl Http {
    /// Connects and initializes a session, or checks the server if there are no sessions.
    pub async fn connect(endpoint: Endpoint, generation: Generation) -> Result<Self, Error> {
        let sender = connection(endpoint.port).await?;
        let stray = Arc::new(AtomicUsize::new(0));
        let mut client = Self {
            endpoint,
            generation,
            sender,
            session: None,
            next: 1,
            stray,
            stream: None,
        };
        if generation == Generation::Stateless {
            return Ok(client);
        }
        let response = client.post(&initialize(0)).await?;
        if !response.status().is_success() {
            return Err(format!("initialize: {}", response.status()).into());
        }
        client.session = response
            .headers()
            .get("mcp-session-id")
            .and_then(|id| id.to_str().ok())
            .map(str::to_owned);
        reply(response, 0).await?;
        let response = client.post(&initialized()).await?;
        response.into_body().collect().await?;
        client.open_stream().await?;
        Ok(client)
    }

    /// Opens the server's own stream, as the official clients do.
    async fn open_stream(&mut self) -> Result<(), Error> {
        let mut sender = connection(self.endpoint.port).await?;
        let request = self.request(Method::GET, Bytes::new(), None)?;
        let stray = self.stray.clone();
        let task = tokio::spawn(async move {
            let Ok(response) = sender.send_request(request).await else {
                return;
            };
            let mut body = response.into_body();
            while let Some(Ok(frame)) = body.frame().await {
                if let Some(data) = frame.data_ref() {
                    let text = String::from_utf8_lossy(data);
                    let count = text.matches("notifications/progress").count();
                    stray.fetch_add(count, Ordering::Relaxed);
                }
            }
        });
        self.stream = Some(task.abort_handle());
        Ok(())
    }

    fn request(
        &self,
        method: Method,
        body: Bytes,
        message: Option<&Value>,
    ) -> Result<Request<Full<Bytes>>, Error> {
        let accept = match method {
            Method::GET => "text/event-stream",
            _ => "application/json, text/event-stream",
        };
        let mut request = Request::builder()
            .method(method)
            .uri(self.endpoint.path)
            .header(header::HOST, format!("127.0.0.1:{}", self.endpoint.port))
            .header(header::ACCEPT, accept)
            .header(header::CONTENT_TYPE, "application/json")
            .header("mcp-protocol-version", self.generation.version());
        if let Some(session) = &self.session {
            request = request.header("mcp-session-id", session);
        }
        if let Some(token) = self.endpoint.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if let (Generation::Stateless, Some(message)) = (self.generation, message) {
            request = request.header("mcp-method", message["method"].as_str().unwrap_or_default());
            if let Some(name) = message["params"]["name"].as_str() {
                request = request.header("mcp-name", name);
            }
        }
        Ok(request.body(Full::new(body))?)
    }

    async fn post(&mut self, message: &Value) -> Result<Response<Incoming>, Error> {
        let body = Bytes::from(serde_json::to_vec(message)?);
        let request = self.request(Method::POST, body, Some(message))?;
        if self.sender.ready().await.is_err() {
            self.sender = connection(self.endpoint.port).await?;
        }
        Ok(self.sender.send_request(request).await?)
    }

    /// Sends a request and returns its reply.
    pub async fn send(&mut self, method: &str, mut params: Value) -> Result<Reply, Error> {
        let id = self.next;
        self.next += 1;
        if self.generation == Generation::Stateless {
            for (key, value) in [
                ("protocolVersion", json!(self.generation.version())),
                ("clientInfo", json!({ "name": "measure", "version": "1" })),
                ("clientCapabilities", json!({})),
            ] {
                params["_meta"][format!("io.modelcontextprotocol/{key}")] = value;
            }
        }
        let stray = self.stray.load(Ordering::Relaxed);
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let response = self.post(&message).await?;
        let mut reply = reply(response, id).await?;
        reply.progress += self.stray.load(Ordering::Relaxed) - stray;
        Ok(reply)
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        if let Some(stream) = &self.stream {
            stream.abort();
        }
    }
}

async fn connection(port: u16) -> Result<SendRequest<Full<Bytes>>, Error> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// Reads a response up to the message with this id: one JSON object, or server-sent events.
async fn reply(response: Response<Incoming>, id: u64) -> Result<Reply, Error> {
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE);
    let events = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    let mut body = response.into_body();
    if !events {
        let body = body.collect().await?.to_bytes();
        let message = serde_json::from_slice(&body)
            .map_err(|_| format!("{status}: {}", String::from_utf8_lossy(&body)))?;
        return Ok(Reply {
            message,
            progress: 0,
            at: Instant::now(),
        });
    }
    let mut buffer: Vec<u8> = Vec::new();
    let mut progress = 0;
    let mut found = None;
    // Up to the end of the stream, so that the connection can be used again.
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        buffer.extend_from_slice(&data);
        while let Some(end) = buffer.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            let Some(data) = line.strip_prefix(b"data:") else {
                continue;
            };
            let Ok(message) = serde_json::from_slice::<Value>(data) else {
                continue;
            };
            if message["id"] == json!(id) {
                found = Some((message, Instant::now()));
            } else if message["method"] == json!("notifications/progress") {
                progress += 1;
            }
        }
    }
    let (message, at) = found.ok_or("the stream ended without a reply")?;
    Ok(Reply {
        message,
        progress,
        at,
    })
}
