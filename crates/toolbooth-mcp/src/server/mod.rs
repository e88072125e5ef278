//! A toolbox as an MCP server.
//!
//! [`McpServer`] is an `rmcp::ServerHandler`. It speaks both generations of the protocol: the
//! sessions of 2025-11-25 and before, and the requests of 2026-07-28, which need no session. The
//! transport is stdio, streamable HTTP, or any other of rmcp.
//!
//! ```
//! use rmcp::model::CallToolRequestParams;
//! use serde_json::json;
//! use toolbooth::{BoxError, ToolSpec, Toolbox, tool_fn};
//! use toolbooth_mcp::McpServer;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let toolbox = Toolbox::builder()
//!     .tool(
//!         ToolSpec::new("length").with_description("Counts the bytes of a text"),
//!         tool_fn("length", async |args: serde_json::Value| {
//!             let text = args["text"].as_str().unwrap_or_default();
//!             Ok::<_, BoxError>(json!({ "bytes": text.len() }))
//!         }),
//!     )
//!     .build()?;
//! let server = McpServer::new(toolbox).with_name("texts");
//!
//! // `server.serve_stdio().await?.waiting().await?` serves the client that started this program.
//! let (ours, theirs) = tokio::io::duplex(4_096);
//! tokio::spawn(async move {
//!     let running = rmcp::serve_server(server, ours).await?;
//!     running.waiting().await?;
//!     Ok::<_, BoxError>(())
//! });
//!
//! let client = rmcp::serve_client((), theirs).await?;
//! let args = json!({ "text": "tower" }).as_object().cloned().unwrap_or_default();
//! let call = CallToolRequestParams::new("length").with_arguments(args);
//! let result = client.call_tool(call).await?;
//! assert_eq!(result.structured_content, Some(json!({ "bytes": 5 })));
//! # Ok(()) }
//! ```
//!
//! # Requests
//! | Request | What the server does |
//! |---|---|
//! | `tools/list` | Returns pages of 100 tools, sorted by name. A cursor stays valid when the list changes. |
//! | `tools/call` | Calls the tool. An unknown name and malformed parameters are protocol errors (-32602). |
//! | `notifications/cancelled` | Drops the call. Nothing is sent any more. |
//! | the id of a request in flight | Rejects the second one (-32600). The first one goes on. |
//! | `subscriptions/listen` | Notifies of changes of the list. Other clients are notified without a request. |
//!
//! Ids are those of one connection over pipes, or of one session. A request of 2026-07-28 over HTTP
//! stands for itself. At most 10,000 requests of a connection or a session are in flight; others
//! are rejected (-32600). On a transport of your own, rmcp handles ids: the responses to two
//! requests with one id are not defined.
//!
//! # Calls
//! A call has an id of its own, and from its request:
//! - the tenant, by [`McpServer::with_tenant`];
//! - the deadline, from [`TIMEOUT_META_KEY`](crate::TIMEOUT_META_KEY) in `_meta`, at most a day;
//! - the `toolbooth_core::TraceContext`, from `traceparent` and `tracestate` in `_meta`, otherwise
//!   from the headers of the HTTP request.
//!
//! # Progress
//! If the request has a progress token, the client is notified of what the call publishes:
//! progress, heartbeats, items and snapshots, and the items of a streaming response. At most one
//! notification is sent in 100 ms, and the latest report wins. Values increase strictly. The
//! message is that of the report, or the first 200 bytes of the item. The items themselves, up to
//! 64 and 16 KiB, are in `_meta` under [`ITEMS_META_KEY`](crate::ITEMS_META_KEY). The last
//! notification precedes the response, which waits for it for 250 ms at most.
//!
//! # Results
//! - Each content is a block: text, JSON as text, images and audio, and other data as an embedded
//!   resource. Of a remote tool, the blocks are those that its server sent.
//! - A response that is one JSON object is structured content as well. If the tool has an output
//!   schema, its JSON value is, which must match. Otherwise the result is an error that names the
//!   path.
//! - A streaming response is collected: up to 1,024 items and 4 MiB. A longer one is an error.
//! - An error of the call is a result with `isError`: the partial contents, then one text for the
//!   model, and the report under [`ERROR_META_KEY`](crate::ERROR_META_KEY) in `_meta`. Details of
//!   the service are not in it.
//!
//! # Cancellation
//! A call ends when its client is gone:
//! | Transport | When |
//! |---|---|
//! | stdio | 5 s after the end of the input, within which results are still written |
//! | HTTP, 2026-07-28 | when the connection is closed |
//! | HTTP, in a session | when no connection has resumed its stream for the keep-alive, 15 s |
//!
//! In a session, a result that is ready while the client is away waits for it that long. A
//! connection that is lost without a sign is closed by the operating system. For that, enable TCP
//! keep-alive on accepted connections, or `TCP_USER_TIMEOUT`.
//!
//! # Responses over HTTP
//! A response without progress is one JSON object. The first notification makes it a stream of
//! events. In a session it is a stream also if the request runs for 1 s, so that the client can
//! resume it. A client that resumes receives the messages after the last one that it names, at most
//! 16.
//!
//! # Shutdown
//! Put a [`ShutdownLayer`](toolbooth::ShutdownLayer) around the toolbox, by
//! [`McpServer::with_service`]. Its calls then end with an error result. Over HTTP, call
//! [`HttpService::close`] after that, which ends the streams on which clients wait.
//!
//! # Panics
//! A panic of a tool is an error result.

mod arguments;
mod call;
mod changes;
mod collect;
mod handler;
mod http;
mod page;
mod pipes;
mod progress;
mod requests;
mod settings;
mod stdio;
mod structured;

use std::sync::Arc;

use rmcp::ServiceExt as _;
use rmcp::service::{RoleServer, RunningService, ServerInitializeError};
use tokio::io::{AsyncRead, AsyncWrite};
use toolbooth::Toolbox;
use toolbooth::toolbox::{Tool, ToolService};

use self::changes::Clients;
pub use self::http::{HttpBody, HttpOptions, HttpService, SessionOwner};
use self::pipes::Pipes;
use self::settings::Settings;
use self::stdio::Bounded;

/// A toolbox as an MCP server: an `rmcp::ServerHandler`. See the [module](self).
///
/// Clones serve the same tools. A setting applies to the value on which it is made.
#[derive(Clone)]
pub struct McpServer {
    toolbox: Toolbox,
    /// Calls the tools of the toolbox, with layers around it.
    service: ToolService,
    settings: Arc<Settings>,
    clients: Arc<Clients>,
}

// === impl McpServer ===

impl McpServer {
    /// Creates a server of the tools of this toolbox.
    #[must_use]
    pub fn new(toolbox: Toolbox) -> Self {
        let service = ToolService::new(toolbox.clone());
        Self::of(toolbox, service)
    }

    /// Creates a server that lists the tools of `toolbox`, and calls them through `service`: the
    /// toolbox within layers.
    #[must_use]
    pub fn with_service(toolbox: Toolbox, service: impl Tool) -> Self {
        Self::of(toolbox, ToolService::new(service))
    }

    fn of(toolbox: Toolbox, service: ToolService) -> Self {
        Self {
            toolbox,
            service,
            settings: Arc::default(),
            clients: Arc::new(Clients::new()),
        }
    }

    /// Serves one client on the standard input and output of this process. Returns once the client
    /// has initialized; [`waiting`](RunningService::waiting) then waits for its end.
    ///
    /// Nothing else may write to the standard output. While 1,024 messages wait for the client to
    /// read them, no request is read.
    ///
    /// # Errors
    /// The client did not initialize.
    pub async fn serve_stdio(
        self,
    ) -> Result<RunningService<RoleServer, Self>, Box<ServerInitializeError>> {
        // Pipes are read and written by the runtime itself, without a thread for each operation.
        let (input, output) = rmcp::transport::stdio_pipes();
        self.serve_pipes(input, output).await
    }

    /// Serves one client on a pair of pipes, such as the halves of a socket, as
    /// [`serve_stdio`](Self::serve_stdio) does.
    ///
    /// A message is a line of at most 16 MiB. A request that is longer or cannot be parsed gets an
    /// error (-32600), with its id if that is found. Other such lines are ignored.
    ///
    /// # Errors
    /// The client did not initialize.
    pub async fn serve_pipes<R, W>(
        self,
        input: R,
        output: W,
    ) -> Result<RunningService<RoleServer, Self>, Box<ServerInitializeError>>
    where
        R: AsyncRead + Unpin + Send + 'static,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let transport = Bounded::new(Pipes::new(input, output));
        self.serve(transport).await.map_err(Box::new)
    }
}
