//! A client of an `HttpService`, without a connection: dropping a response is a client that is
//! gone.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use toolbooth_mcp::HttpService;
use toolbooth_mcp::server::HttpBody;
use tower::ServiceExt as _;

pub(crate) struct Client {
    service: HttpService,
    pub(crate) headers: HeaderMap,
}

/// The events of a response. One that is JSON has one event.
pub(crate) struct Events {
    body: HttpBody,
    pub(crate) is_json: bool,
    buffer: String,
    pub(crate) last_id: Option<String>,
}

impl Client {
    /// Creates a client that has begun no session.
    pub(crate) fn new(service: &HttpService) -> Self {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "localhost:8000"),
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        Self {
            service: service.clone(),
            headers,
        }
    }

    /// Begins a session of 2025-11-25.
    pub(crate) async fn with_session(service: &HttpService) -> Self {
        let mut client = Self::new(service);
        let begun = client.initialize().await;
        assert_eq!(begun.status(), StatusCode::OK);
        client.use_session(&begun);
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        assert_eq!(
            client.post(&initialized).await.status(),
            StatusCode::ACCEPTED
        );
        client
    }

    /// Creates a client of 2026-07-28, which calls this tool.
    pub(crate) fn stateless(service: &HttpService, tool: &'static str) -> Self {
        let mut client = Self::new(service);
        for (name, value) in [
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tools/call"),
            ("mcp-name", tool),
        ] {
            let value = HeaderValue::from_static(value);
            client.headers.insert(name, value);
        }
        client
    }

    pub(crate) async fn initialize(&self) -> Response<HttpBody> {
        self.post(&initialize()).await
    }

    pub(crate) fn use_session(&mut self, begun: &Response<HttpBody>) {
        let id = begun.headers().get("mcp-session-id").expect("a session");
        self.headers.insert("mcp-session-id", id.clone());
        let version = HeaderValue::from_static("2025-11-25");
        self.headers.insert("mcp-protocol-version", version);
    }

    pub(crate) async fn post(&self, message: &Value) -> Response<HttpBody> {
        self.send("POST", message.to_string().into(), &[]).await
    }

    pub(crate) async fn get(&self, headers: &[(&'static str, &str)]) -> Response<HttpBody> {
        self.send("GET", Bytes::new(), headers).await
    }

    pub(crate) async fn delete(&self) -> Response<HttpBody> {
        self.send("DELETE", Bytes::new(), &[]).await
    }

    /// Begins a call, and returns the events of its response.
    pub(crate) async fn call(&self, id: u32, tool: &str) -> Events {
        let response = self.post(&call(id, tool)).await;
        assert_eq!(response.status(), StatusCode::OK);
        Events::of(response)
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        body: Bytes,
        headers: &[(&'static str, &str)],
    ) -> Response<HttpBody> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method.parse().expect("a method");
        *request.uri_mut() = "/mcp".parse().expect("a path");
        request.headers_mut().clone_from(&self.headers);
        for (name, value) in headers {
            let value = value.parse().expect("a value");
            request.headers_mut().insert(*name, value);
        }
        self.request(request).await
    }

    pub(crate) async fn request(&self, request: Request<Full<Bytes>>) -> Response<HttpBody> {
        let response = self.service.clone().oneshot(request).await;
        response.unwrap_or_else(|error| match error {})
    }
}

impl Events {
    pub(crate) fn of(response: Response<HttpBody>) -> Self {
        let content = response.headers().get("content-type");
        Self {
            is_json: content.is_some_and(|content| content == "application/json"),
            body: response.into_body(),
            buffer: String::new(),
            last_id: None,
        }
    }

    /// Reads the next message. `None` at the end of the stream.
    pub(crate) async fn message(&mut self) -> Option<Value> {
        loop {
            let event = self.event().await?;
            if let Some(message) = event {
                return Some(message);
            }
        }
    }

    /// Reads the next event, also one without a message.
    pub(crate) async fn event(&mut self) -> Option<Option<Value>> {
        if self.is_json {
            let body = self.body.frame().await?.expect("infallible");
            let body = body.into_data().unwrap_or_default();
            return Some(Some(serde_json::from_slice(&body).expect("JSON")));
        }
        loop {
            if let Some((event, rest)) = self.buffer.split_once("\n\n") {
                let mut data = None;
                for line in event.lines() {
                    if let Some(id) = line.strip_prefix("id:") {
                        self.last_id = Some(id.trim().to_owned());
                    }
                    let text = line.strip_prefix("data:").map(str::trim);
                    data = data.or(text.filter(|text| !text.is_empty()).map(str::to_owned));
                }
                let is_comment = event.starts_with(':');
                self.buffer = rest.to_owned();
                if !is_comment {
                    let parse = |data: String| serde_json::from_str(&data).expect("JSON");
                    return Some(data.map(parse));
                }
                continue;
            }
            let frame = self.body.frame().await?;
            let data = frame.expect("infallible").into_data().unwrap_or_default();
            self.buffer += std::str::from_utf8(&data).expect("UTF-8");
        }
    }
}

pub(crate) fn request(id: u32, method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

/// The request that begins a session of 2025-11-25.
pub(crate) fn initialize() -> Value {
    let params = json!({
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": { "name": "test", "version": "1" },
    });
    request(0, "initialize", &params)
}

pub(crate) fn call(id: u32, tool: &str) -> Value {
    request(id, "tools/call", &json!({ "name": tool, "arguments": {} }))
}

/// A call whose progress is notified with the token `t`.
pub(crate) fn call_with_progress(id: u32, tool: &str) -> Value {
    let meta = json!({ "progressToken": "t" });
    let params = json!({ "name": tool, "arguments": {}, "_meta": meta });
    request(id, "tools/call", &params)
}

/// A call of 2026-07-28.
pub(crate) fn stateless_call(id: u32, tool: &str) -> Value {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let params = json!({ "name": tool, "arguments": {}, "_meta": meta });
    request(id, "tools/call", &params)
}

pub(crate) async fn text(response: Response<HttpBody>) -> String {
    let body = response.into_body().collect().await.expect("infallible");
    String::from_utf8(body.to_bytes().to_vec()).expect("UTF-8")
}
