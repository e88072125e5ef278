//! A toolbox as an MCP server, and remote MCP servers as tools.
//!
//! | to | use |
//! |---|---|
//! | serve the tools of a toolbox to MCP clients | [`McpServer`], over stdio or as an [`HttpService`] |
//! | call the tools of an MCP server | [`RemoteServer`], a program or an HTTP endpoint |
//! | put limits in front of an MCP server | both: install the remote tools in a toolbox, and serve it |
//!
//! A program that a client starts:
//!
//! ```no_run
//! use toolbooth::{BoxError, Toolbox, tool_fn};
//! use toolbooth_mcp::McpServer;
//!
//! #[tokio::main]
//! async fn main() -> Result<(), BoxError> {
//!     let search = tool_fn("search", async |_: ()| Ok::<_, BoxError>("3 files"));
//!     let toolbox = Toolbox::builder().tool("search", search).build()?;
//!     McpServer::new(toolbox).serve_stdio().await?.waiting().await?;
//!     Ok(())
//! }
//! ```
//!
//! A service of HTTP:
//!
//! ```
//! use serde_json::json;
//! use toolbooth::{BoxError, Toolbox, tool_fn};
//! use toolbooth_mcp::{HttpOptions, McpServer};
//! # use http::{Request, StatusCode};
//! # use tower::ServiceExt;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let search = tool_fn("search", async |_: ()| Ok::<_, BoxError>(json!(["src/lib.rs"])));
//! let toolbox = Toolbox::builder().tool("search", search).build()?;
//! let server = McpServer::new(toolbox)
//!     .with_name("files")
//!     .with_instructions("Search before you read.");
//! // For axum, `Router::new().nest_service("/mcp", service)`, or for hyper.
//! let service = server.into_http(HttpOptions::new());
//! # let request = Request::post("/mcp").header("host", "evil.example").body(String::new())?;
//! # let response = service.oneshot(request).await?;
//! # assert_eq!(response.status(), StatusCode::FORBIDDEN);
//! # Ok(()) }
//! ```
//!
//! What the server does with requests, progress, results and errors is in the module [`server`],
//! what the tools of a remote server do is in [`remote`].
//!
//! # Requirements
//! The crate `rmcp`, version 3.11 or a later 3, whose types are part of the interface. Rust 1.88 or
//! newer. `https` addresses need the feature `tls`.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc(test(attr(deny(warnings))))]

mod convert;
mod lines;
pub mod remote;
pub mod server;

pub use convert::{ERROR_META_KEY, ITEMS_META_KEY, TIMEOUT_META_KEY};
pub use remote::{RemoteError, RemoteServer, RemoteTool};
pub use server::{HttpOptions, HttpService, McpServer, SessionOwner};
