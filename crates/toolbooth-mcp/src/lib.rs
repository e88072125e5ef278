//! A toolbox as an MCP server, and remote MCP servers as tools.
//!
//! | to | use |
//! |---|---|
//! | serve the tools of a toolbox to MCP clients | [`McpServer`], over stdio or as an [`HttpService`] |
//! | call the tools of an MCP server | [`RemoteServer`], a program or an HTTP endpoint |
//! | put limits in front of an MCP server | both: install the remote tools in a toolbox, and serve it |
//!
//! # A server
//! A program that a client starts, and speaks with over its standard input and output:
//!
//! ```toml
//! [dependencies]
//! schemars = "1"
//! serde = { version = "1", features = ["derive"] }
//! tokio = { version = "1", features = ["macros", "rt-multi-thread"] }
//! toolbooth = { version = "0.1", features = ["schema", "toolbox"] }
//! toolbooth-mcp = "0.1"
//! ```
//!
//! ```no_run
//! use schemars::JsonSchema;
//! use serde::Deserialize;
//! use toolbooth::{BoxError, ToolSpec, Toolbox, tool_fn};
//! use toolbooth_mcp::McpServer;
//!
//! #[derive(Deserialize, JsonSchema)]
//! struct Text {
//!     text: String,
//! }
//!
//! async fn shout(args: Text) -> Result<String, BoxError> {
//!     Ok(args.text.to_uppercase())
//! }
//!
//! async fn words(args: Text) -> Result<String, BoxError> {
//!     Ok(args.text.split_whitespace().count().to_string())
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), BoxError> {
//!     let spec = |name| ToolSpec::of::<Text>(name);
//!     let toolbox = Toolbox::builder()
//!         .tool(spec("shout").with_description("Makes a text louder"), tool_fn("shout", shout))
//!         .tool(spec("words").with_description("Counts words"), tool_fn("words", words))
//!         .build()?;
//!     McpServer::new(toolbox).serve_stdio().await?.waiting().await?;
//!     Ok(())
//! }
//! ```
//!
//! # A client
//! A call of a tool of another server, with a limit of 10 s for each of 3 attempts:
//!
//! ```toml
//! [dependencies]
//! serde_json = "1"
//! tokio = { version = "1", features = ["macros", "rt-multi-thread"] }
//! toolbooth = { version = "0.1", features = ["retry"] }
//! toolbooth-mcp = "0.1"
//! tower = { version = "0.5", features = ["retry", "util"] }
//! ```
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use serde_json::json;
//! use toolbooth::{BoxError, RetryPolicy, TimeoutLayer, ToolCall};
//! use toolbooth_mcp::RemoteServer;
//! use tower::retry::RetryLayer;
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), BoxError> {
//!     let server = RemoteServer::stdio("npx")
//!         .with_args(["-y", "@modelcontextprotocol/server-everything"])
//!         .connect()
//!         .await?;
//!     let mut tools = server.tools().into_iter();
//!     let (_, echo) = tools.find(|(spec, _)| spec.name() == "echo").ok_or("there is no echo")?;
//!     let echo = ServiceBuilder::new()
//!         // `echo` may run twice: it has no effects.
//!         .layer(RetryLayer::new(RetryPolicy::new(3).with_idempotent(true)))
//!         .layer(TimeoutLayer::new(Duration::from_secs(10)))
//!         .service(echo);
//!
//!     let output = echo.oneshot(ToolCall::new("echo", json!({ "message": "hi" }))).await?;
//!     println!("{}", output.collect().await?.text());
//!     server.close().await;
//!     Ok(())
//! }
//! ```
//!
//! # A service of HTTP
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
//! what the tools of a remote server do is in [`remote`]. The bounds of what comes from clients and
//! servers are in [`bounds`].
//!
//! # Requirements
//! The crate `rmcp`, version 3.11 or a later 3, whose types are part of the interface. Rust 1.88 or
//! newer. `https` addresses need the feature `tls`.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc(test(attr(deny(warnings))))]

#[doc = include_str!("bounds.md")]
pub mod bounds {}
mod convert;
mod lines;
pub mod remote;
pub mod server;

pub use convert::{ERROR_META_KEY, ITEMS_META_KEY, TIMEOUT_META_KEY};
pub use remote::{RemoteError, RemoteServer, RemoteTool};
pub use server::{HttpOptions, HttpService, McpServer, SessionOwner};
