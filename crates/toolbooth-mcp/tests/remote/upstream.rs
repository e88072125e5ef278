//! A server for the tests: a handler of rmcp, over HTTP in this process or as a program.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorCode, ErrorData,
    InputRequiredResult, ListToolsResult, PaginatedRequestParams, ProgressNotificationParam,
    ProtocolVersion, ServerCapabilities, ServerConfig, Tool, ToolAnnotations,
};
use rmcp::service::{Peer, RequestContext, RoleServer};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ServerHandler, ServiceExt as _};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What the server has seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) started: AtomicUsize,
    pub(crate) cancelled: AtomicUsize,
    pub(crate) listed: AtomicUsize,
}

/// The handler.
#[derive(Debug, Clone, Default)]
pub(crate) struct Upstream {
    pub(crate) seen: Arc<Seen>,
    is_old: bool,
    has_extra: Arc<AtomicBool>,
    peers: Arc<Mutex<Vec<Peer<RoleServer>>>>,
}

impl Upstream {
    /// A server of the generation with sessions.
    pub(crate) fn old() -> Self {
        Self {
            is_old: true,
            ..Self::default()
        }
    }
}

impl ServerHandler for Upstream {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder();
        let capabilities = capabilities
            .enable_tools()
            .enable_tool_list_changed()
            .build();
        ServerConfig::new(capabilities).with_instructions("for tests")
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        match self.is_old {
            true => Cow::Owned(vec![ProtocolVersion::V_2025_11_25]),
            false => Cow::Borrowed(ProtocolVersion::KNOWN_VERSIONS),
        }
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        self.seen.listed.fetch_add(1, Ordering::SeqCst);
        self.peers.lock().expect("not poisoned").push(context.peer);
        let extra = self.has_extra.load(Ordering::SeqCst).then_some("extra");
        let names = [
            "die", "echo", "error", "hang", "input", "meta", "progress", "raw", "toggle",
        ];
        let tools = names.into_iter().chain(extra).map(|name| {
            let schema = json!({ "type": "object" });
            let schema = schema.as_object().cloned().unwrap_or_default();
            let tool = Tool::new(name, "for tests", Arc::new(schema));
            tool.with_annotations(ToolAnnotations::new().read_only(name == "echo"))
        });
        Ok(ListToolsResult::with_all_items(tools.collect()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        self.seen.started.fetch_add(1, Ordering::SeqCst);
        let args = Value::Object(request.arguments.unwrap_or_default());
        let text =
            |text: String| Ok(CallToolResult::success(vec![ContentBlock::text(text)]).into());
        match &*request.name {
            "die" => die(),
            "echo" => text(args.to_string()),
            "error" => {
                let code = args["code"]
                    .as_i64()
                    .and_then(|code| i32::try_from(code).ok());
                let message = args["message"].as_str().unwrap_or_default().to_owned();
                Err(ErrorData::new(
                    ErrorCode(code.unwrap_or(-32603)),
                    message,
                    None,
                ))
            }
            "hang" => {
                context.ct.cancelled().await;
                self.seen.cancelled.fetch_add(1, Ordering::SeqCst);
                Err(ErrorData::internal_error("cancelled", None))
            }
            "input" => Ok(InputRequiredResult::from_request_state("state").into()),
            "meta" => {
                let meta = serde_json::to_value(&context.meta).expect("it serializes");
                text(meta.to_string())
            }
            "progress" => self.progress(&args, &context).await,
            "raw" => {
                let result: CallToolResult = serde_json::from_value(args).expect("a result");
                Ok(result.into())
            }
            "toggle" => {
                self.has_extra.fetch_xor(true, Ordering::SeqCst);
                for peer in self.peers.lock().expect("not poisoned").drain(..) {
                    tokio::spawn(async move { peer.notify_tool_list_changed().await });
                }
                text("toggled".to_owned())
            }
            name => Err(ErrorData::invalid_params(
                format!("unknown tool {name}"),
                None,
            )),
        }
    }
}

impl Upstream {
    /// Reports each of `steps`, and returns at once after the last.
    async fn progress(
        &self,
        args: &Value,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let token = context.meta.get_progress_token().expect("a token");
        for step in args["steps"].as_array().into_iter().flatten() {
            let mut report = ProgressNotificationParam::new(
                token.clone(),
                step["progress"].as_f64().expect("a number"),
            );
            report.total = step["total"].as_f64();
            report.message = step["message"].as_str().map(str::to_owned);
            let sent = context.peer.notify_progress(report).await;
            sent.map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
            if let Some(pause) = args["pause_ms"].as_u64() {
                tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
            }
        }
        match args["then"].as_str() {
            Some("die") => die(),
            Some("hang") => context.ct.cancelled().await,
            _ => {}
        }
        Ok(CallToolResult::success(vec![ContentBlock::text("done")]).into())
    }
}

#[expect(clippy::exit, reason = "the end of a server is what is tested")]
fn die() -> ! {
    eprintln!("a first line\nout of luck");
    std::process::exit(3)
}

/// Serves it over HTTP. The server ends with the token.
pub(crate) async fn serve(upstream: Upstream, ct: CancellationToken) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    serve_at(listener, upstream, ct)
}

/// Serves it on a socket.
pub(crate) fn serve_at(listener: TcpListener, upstream: Upstream, ct: CancellationToken) -> String {
    let mut config = StreamableHttpServerConfig::default();
    config.cancellation_token = ct.child_token();
    let factory = move || Ok(upstream.clone());
    let service =
        StreamableHttpService::new(factory, Arc::<LocalSessionManager>::default(), config);
    let router = axum::Router::new().nest_service("/mcp", service);
    let address = listener.local_addr().expect("its address");
    let served = axum::serve(listener, router);
    tokio::spawn(async move {
        tokio::select! {
            served = served => served.expect("it serves"),
            () = ct.cancelled() => {}
        }
    });
    format!("http://{address}/mcp")
}

/// Serves it on the standard input and output, until the input ends.
pub(crate) fn serve_stdio(upstream: Upstream) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let served = upstream.serve(rmcp::transport::stdio()).await;
        let served = served.expect("a client");
        served.waiting().await.expect("it ends");
    });
}
