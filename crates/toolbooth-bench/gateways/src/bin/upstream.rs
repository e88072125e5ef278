//! The MCP server behind every contender: `upstream LOG [PORT]`, over stdio or, with a port, over
//! streamable HTTP.
//!
//! Appends a line for each event to the file `LOG`: the time of the machine's monotonic clock in
//! nanoseconds, the process, the event and the id of the call.

use std::fs::File;
use std::io::Write;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::ListenerExt;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorCode, JsonObject,
    ListToolsResult, PaginatedRequestParams, ProgressNotificationParam, ServerCapabilities,
    ServerConfig, Tool,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::transport::stdio_pipes;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, ServerHandler, ServiceExt};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, ReadBuf};

type Error = Box<dyn std::error::Error + Send + Sync>;

#[derive(Clone)]
struct Upstream {
    log: Log,
    /// The server runs one call of `work` at a time, as many servers do.
    one: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Clone)]
struct Log(Arc<File>);

/// Records how a call ended: `cancelled`, unless it was marked as ended.
struct Call<'a> {
    log: &'a Log,
    id: String,
    ended: bool,
}

/// Records the end of the standard input.
struct RecordEof<R> {
    inner: R,
    log: Log,
    ended: OnceLock<()>,
}

// === impl Upstream ===

impl ServerHandler for Upstream {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tool = |name: &'static str, properties: Value| {
            let schema = json!({ "type": "object", "properties": properties });
            let schema = schema.as_object().cloned().unwrap_or_else(JsonObject::new);
            Tool::new(name, name, Arc::new(schema))
        };
        let number = json!({ "type": "integer" });
        let text = json!({ "type": "string" });
        Ok(ListToolsResult::with_all_items(vec![
            tool("echo", json!({ "text": text })),
            tool("work", json!({ "millis": number, "id": text })),
            tool(
                "slow",
                json!({ "millis": number, "every": number, "id": text }),
            ),
        ]))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        let text = |key: &str| arguments[key].as_str().unwrap_or_default().to_owned();
        let number = |key: &str| Duration::from_millis(arguments[key].as_u64().unwrap_or_default());
        let answer = match &*request.name {
            "echo" => text("text"),
            "work" => {
                let _one = self.one.lock().await;
                tokio::time::sleep(number("millis")).await;
                text("id")
            }
            "slow" => {
                self.log.record("started", &text("id"));
                let mut call = Call {
                    log: &self.log,
                    id: text("id"),
                    ended: false,
                };
                let ct = context.ct.clone();
                tokio::select! {
                    () = ct.cancelled() => {
                        return Err(ErrorData::new(ErrorCode::INTERNAL_ERROR, "cancelled", None));
                    }
                    () = slow(number("millis"), number("every"), &context) => call.ended = true,
                }
                text("id")
            }
            _ => return Err(ErrorData::invalid_params("unknown tool", None)),
        };
        Ok(CallToolResult::success(vec![ContentBlock::text(answer)]).into())
    }
}

/// Takes `limit`; with `every`, reports progress after each such time.
async fn slow(limit: Duration, every: Duration, context: &RequestContext<RoleServer>) {
    if every.is_zero() {
        return tokio::time::sleep(limit).await;
    }
    let total = u32::try_from(limit.as_millis() / every.as_millis()).unwrap_or(u32::MAX);
    for step in 1..=total {
        tokio::time::sleep(every).await;
        if let Some(token) = context.meta.get_progress_token() {
            let progress = ProgressNotificationParam::new(token, f64::from(step))
                .with_total(f64::from(total))
                .with_message(format!("step {step}"));
            // A client that has gone is not an error of the tool.
            drop(context.peer.notify_progress(progress).await);
        }
    }
}

// === impl Log ===

impl Log {
    fn record(&self, event: &str, id: &str) {
        let now = clock_gettime(ClockId::Monotonic);
        let line = format!(
            "{}{:09} {} {event} {id}\n",
            now.tv_sec,
            now.tv_nsec,
            std::process::id()
        );
        // The file is open for appending: a line is one write.
        if let Err(error) = (&*self.0).write_all(line.as_bytes()) {
            eprintln!("upstream: the log failed: {error}");
        }
    }
}

// === impl Call ===

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.log
            .record(if self.ended { "ended" } else { "cancelled" }, &self.id);
    }
}

// === impl RecordEof ===

impl<R: AsyncRead + Unpin> AsyncRead for RecordEof<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buffer);
        if polled.is_ready() && buffer.filled().len() == before && self.ended.set(()).is_ok() {
            self.log.record("eof", "-");
        }
        polled
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: upstream LOG [PORT]")?;
    let log = Log(Arc::new(
        File::options().append(true).create(true).open(path)?,
    ));
    log.record("process", "-");
    let upstream = Upstream {
        log: log.clone(),
        one: Arc::default(),
    };
    if let Some(port) = arguments.next() {
        let service = StreamableHttpService::new(
            move || Ok(upstream.clone()),
            Arc::new(LocalSessionManager::default()),
            StreamableHttpServerConfig::default(),
        );
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port.parse()?)).await?;
        // Otherwise the second write of a response waits 40 ms for an acknowledgement.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        axum::serve(listener, axum::Router::new().nest_service("/mcp", service)).await?;
        return Ok(());
    }
    let (input, output) = stdio_pipes();
    let input = RecordEof {
        inner: input,
        log,
        ended: OnceLock::new(),
    };
    upstream.serve((input, output)).await?.waiting().await?;
    Ok(())
}
