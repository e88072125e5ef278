//! The program, and its clients.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rmcp::model::{CallToolRequestParams, CallToolResult};
use rmcp::service::{RoleClient, RunningService, ServiceError};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientHandler, serve_client};
use rustix::process::{Pid, Signal};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use toolbooth_gateway::config::TokenHash;

/// The longest wait for anything.
const LIMIT: Duration = Duration::from_secs(60);
pub(crate) const TOOLBOOTH: &str = env!("CARGO_BIN_EXE_toolbooth");

/// A folder that is removed with its value.
pub(crate) struct Folder(PathBuf);

/// A running program, which is killed with its value.
pub(crate) struct Program {
    child: Child,
    log: mpsc::UnboundedReceiver<String>,
    pub(crate) seen: Vec<String>,
    pub(crate) folder: Folder,
    pub(crate) http: String,
    pub(crate) admin: String,
}

pub(crate) type Mcp<C = ()> = RunningService<RoleClient, C>;

// === impl Folder ===

impl Folder {
    pub(crate) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("toolbooth-{:016x}", rand()));
        std::fs::create_dir(&path).expect("a new folder");
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("a file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The folder is temporary in any case.
        let _removed = std::fs::remove_dir_all(&self.0);
    }
}

fn rand() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

// === impl Program ===

impl Program {
    /// Starts the program with this file, and waits until clients may connect.
    ///
    /// The file needs no addresses and no settings of the log.
    pub(crate) async fn start(toml: &str) -> Self {
        let folder = Folder::new();
        let file = folder.write("booth.toml", &with_listeners(toml));
        Self::start_file(folder, &file).await
    }

    pub(crate) async fn start_file(folder: Folder, file: &Path) -> Self {
        let mut program = Self::spawn(folder, |command| {
            command.arg("run").arg(file).stdin(Stdio::null());
        });
        program.admin = program.address("the operator may connect").await;
        program.http = program.address("clients may connect").await;
        program
    }

    pub(crate) fn spawn(folder: Folder, configure: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new(TOOLBOOTH);
        command.current_dir(&folder.0);
        configure(&mut command);
        let mut child = command
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let (sender, log) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                // No test reads it any more.
                let _read = sender.send(line);
            }
        });
        Self {
            child,
            log,
            seen: Vec::new(),
            folder,
            http: String::new(),
            admin: String::new(),
        }
    }

    /// Waits for a line of the log that contains `text`.
    pub(crate) async fn logged(&mut self, text: &str) -> String {
        let wait = async {
            while let Some(line) = self.log.recv().await {
                self.seen.push(line.clone());
                if line.contains(text) {
                    return Some(line);
                }
            }
            None
        };
        let line = within(wait).await;
        assert!(
            line.is_some(),
            "no line with `{text}`: {}",
            self.seen.join("\n")
        );
        line.unwrap_or_default()
    }

    async fn address(&mut self, message: &str) -> String {
        let line: Value = serde_json::from_str(&self.logged(message).await).expect("JSON");
        line["fields"]["address"]
            .as_str()
            .expect("an address")
            .to_owned()
    }

    pub(crate) fn pid(&self) -> Pid {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok());
        pid.and_then(Pid::from_raw).expect("it runs")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).expect("it runs");
    }

    pub(crate) async fn exit(&mut self) -> ExitStatus {
        within(self.child.wait()).await.expect("a child")
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    pub(crate) fn replace(&self, toml: &str) {
        // As editors do: a new file is renamed over the old one.
        let new = self.folder.write("booth.toml.new", &with_listeners(toml));
        std::fs::rename(new, self.folder.path("booth.toml")).expect("renamed");
    }

    /// Calls a tool by the HTTP API.
    pub(crate) async fn call(&self, token: Option<&str>, tool: &str, args: &Value) -> (u16, Value) {
        let mut request = Request::post(format!("http://{}/tools/{tool}", self.http))
            .header("content-type", "application/json");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let body = Full::from(args.to_string());
        let (head, body) = send(request.body(body).expect("valid")).await;
        let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
        (head.status().as_u16(), json)
    }

    /// Requests a path of the operator.
    pub(crate) async fn operator(&self, path: &str) -> (Response<()>, String) {
        let (head, body) = get(&format!("http://{}{path}", self.admin)).await;
        (head, String::from_utf8(body.into()).expect("text"))
    }

    /// Waits until this number of calls is in flight.
    pub(crate) async fn in_flight(&self, calls: u64) {
        let path = "/ready";
        self.operator_until(path, |json| json["in_flight"].as_u64() == Some(calls))
            .await;
    }

    /// Requests JSON of the operator until it is as expected.
    pub(crate) async fn operator_until(&self, path: &str, is: impl Fn(&Value) -> bool) -> Value {
        within(async {
            loop {
                let json = serde_json::from_str(&self.operator(path).await.1).expect("JSON");
                if is(&json) {
                    return json;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
    }

    /// Connects a client of MCP.
    pub(crate) async fn mcp(&self, token: Option<&str>) -> Mcp {
        self.mcp_with(token, ()).await
    }

    pub(crate) async fn mcp_with<C: ClientHandler>(
        &self,
        token: Option<&str>,
        client: C,
    ) -> Mcp<C> {
        let url = format!("http://{}/mcp", self.http);
        let mut config = StreamableHttpClientTransportConfig::with_uri(url);
        if let Some(token) = token {
            config = config.auth_header(token);
        }
        let transport = StreamableHttpClientTransport::from_config(config);
        within(serve_client(client, transport))
            .await
            .expect("the server accepts a client")
    }
}

/// Adds what every test needs to a file.
pub(crate) fn with_listeners(toml: &str) -> String {
    format!(
        "{toml}\n[listen]\nhttp = '127.0.0.1:0'\n\
         [admin]\nlisten = '127.0.0.1:0'\n\
         [log]\nformat = 'json'\nlevel = 'info'\n"
    )
}

/// Returns the settings of a tenant whose token is its name.
pub(crate) fn tenant(name: &str, settings: &str) -> String {
    let hash = TokenHash::of(name);
    format!("[tenants.{name}]\ntoken_sha256 = '{hash}'\n{settings}\n")
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    let result = tokio::time::timeout(LIMIT, future).await;
    result.expect("it happens within a minute")
}

pub(crate) async fn send(request: Request<Full<Bytes>>) -> (Response<()>, Bytes) {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let response = within(client.request(request)).await.expect("a response");
    let (head, body) = response.into_parts();
    let body = within(body.collect()).await.expect("a body").to_bytes();
    (Response::from_parts(head, ()), body)
}

pub(crate) async fn get(url: &str) -> (Response<()>, Bytes) {
    send(Request::get(url).body(Full::default()).expect("valid")).await
}

pub(crate) async fn call<C: ClientHandler>(
    client: &Mcp<C>,
    tool: &'static str,
    args: Value,
) -> Result<CallToolResult, ServiceError> {
    let args = args.as_object().expect("an object").clone();
    within(client.call_tool(CallToolRequestParams::new(tool).with_arguments(args))).await
}

/// Returns the text of a result.
pub(crate) fn text(result: &CallToolResult) -> String {
    let blocks = result.content.iter().filter_map(|block| block.as_text());
    blocks.map(|block| block.text.as_str()).collect()
}

pub(crate) async fn names<C: ClientHandler>(client: &Mcp<C>) -> Vec<String> {
    let tools = within(client.list_all_tools()).await.expect("a list");
    tools
        .into_iter()
        .map(|tool| tool.name.into_owned())
        .collect()
}

/// Returns whether a process of this number runs.
pub(crate) fn runs(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
    status.is_ok_and(|status| !status.contains("State:\tZ"))
}
