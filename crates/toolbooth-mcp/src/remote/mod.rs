//! Remote MCP servers as tools.
//!
//! A [`RemoteServer`] is a program that speaks MCP on its standard input and output, or an endpoint
//! over streamable HTTP. Its tools are [`ToolSpec`](toolbooth::ToolSpec)s and services, around
//! which layers stack as around any tool.
//!
//! ```
//! use std::time::Duration;
//! use serde_json::json;
//! use toolbooth::{ConcurrencyLimitLayer, TimeoutLayer, ToolCall, Toolbox};
//! use toolbooth_mcp::RemoteServer;
//! use tower::ServiceExt;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let server = RemoteServer::stdio("npx")
//!     .with_args(["-y", "@modelcontextprotocol/server-everything"])
//!     .with_prefix("everything_")
//!     .connect()
//!     .await?;
//!
//! let toolbox = Toolbox::builder()
//!     .layer(TimeoutLayer::new(Duration::from_secs(30)))
//!     .layer(ConcurrencyLimitLayer::per_tool(2))
//!     .build()?;
//! let installed = server.install(&toolbox)?; // follows the list of the server
//!
//! let call = ToolCall::new("everything_echo", json!({ "message": "hi" }));
//! let output = toolbox.clone().oneshot(call).await?.collect().await?;
//! println!("{} tools, {}", installed.names().len(), output.text());
//! server.close().await;
//! # Ok(()) }
//! # fn main() { let _ = example; }
//! ```
//!
//! # Connection
//! The newest version of the protocol that the server has is used: 2026-07-28, or 2025-11-25 and
//! earlier ones by `initialize`. No capability is announced: requests of the server for samples or
//! roots are rejected, and requests for input are declined.
//!
//! If the connection is lost, the next call sets it up again, and the list of tools is read again.
//! Calls that are made meanwhile wait for that, up to their deadline and the
//! [connect timeout](RemoteServerBuilder::with_connect_timeout). After an attempt that failed,
//! calls are rejected at once until the [backoff](RemoteServerBuilder::with_backoff) is over:
//! `CircuitOpen`, with the time to retry, for how long the server has been away, and why. The list
//! of the tools stays as it was, however long the server is away. In place of a session that
//! an endpoint does not know any more, a call begins a new one.
//!
//! # Program
//! It leads a session and a process group of its own, which ends with the connection: it has half a
//! second to exit when its input ends, then the group receives SIGTERM, and after 2 s SIGKILL. What
//! it has started also ends when it exits by itself. If this process is killed, the input of the
//! program ends, at which servers exit. Its environment has only the variables of
//! [`with_inherited_env`](RemoteServerBuilder::with_inherited_env) and
//! [`with_env`](RemoteServerBuilder::with_env). Programs are servers on unix only.
//!
//! Its standard error is read at once, so that it never blocks the program. The last 8 KiB are kept
//! for [`stderr_tail`](RemoteServer::stderr_tail), and the last lines are in the error of a server
//! that ended. They are for logs: clients do not read them.
//!
//! # Calls
//! The time until the deadline of a call is sent, as [`TIMEOUT_META_KEY`](crate::TIMEOUT_META_KEY),
//! and so is its [trace context](toolbooth::events::TraceContext). Progress of the server becomes
//! [progress](toolbooth::CallContext::progress) of the call, which restarts idle limits and never
//! extends others. All reports before the response are received. Numbers that are not whole are
//! scaled by 1,000. The messages of progress are also items of the partial result, if an outer
//! layer keeps one: a call that ends early has them in its error.
//!
//! A result with `isError` is a response that reports a failure. An [`McpServer`](crate::McpServer)
//! makes the same result of the response again, with its structured content, its metadata and each
//! content block. For others, the text of an embedded resource is a text, and a link is JSON.
//!
//! Annotations are shown to clients. For retries and gates they count only
//! [if they are trusted](RemoteServerBuilder::with_trust_annotations).
//!
//! # Cancellation
//! Dropping the future of a call sends `notifications/cancelled` to the server, by a task that
//! lasts for a second at most. Over HTTP with 2026-07-28 it closes the stream of the response. The
//! request of a call that is dropped before it was sent is not sent.
//!
//! # Errors
//! [`RemoteError::find`] returns the reason from the error of a call.
//!
//! | reason | error | started |
//! |---|---|---|
//! | the server ended, or the connection was lost | `Tool`, an outage, not retryable | yes |
//! | no connection until the backoff is over, or 503 with `Retry-After` | `CircuitOpen` | no; yes for 503 |
//! | 429 with `Retry-After` | `RateLimited` | no |
//! | nothing listens at the endpoint | `Tool`, an outage | no |
//! | the code -32602 | `UnknownTool` or `InvalidArguments` with the server's message | no |
//! | another code, or a result that cannot be used | `Tool`, an outage | yes |
//! | the tool needs input, or made a task | `Tool`, no outage | yes |
//! | the server is closed here | `Tool`, no outage | no |
//!
//! A `RetryPolicy` repeats a call that may have been made only if it is idempotent.
//!
//! # Limits
//! A message of a server has at most 16 MiB; a longer one fails its call alone. A line of a program
//! that is not JSON-RPC is ignored. Messages that wait for a program to read its input have at most
//! 64 MiB. A list has at most [`MAX_TOOLS`] tools, 1,000 pages and 32 MiB. Names have at most 128
//! bytes with the prefix, texts of a server in an error 2 KiB, and a message of progress 4 KiB. At
//! most 4,096 requests over HTTP wait for the beginning of their response.
//!
//! # Secrets
//! Headers and tokens are in no `Debug` output, error or log, and neither is a password in the URL.
//! Redirects are not followed, since the token would go along.
//!
//! # Clone
//! Clones of a server, and its tools, share one connection. It ends with the last of them.
//!
//! # Panics
//! None of its own. It needs a tokio runtime with io and time enabled.

mod builder;
mod call;
mod connection;
mod error;
mod http;
mod install;
mod list;
mod server;
mod stderr;
#[cfg(unix)]
mod stdio;
mod tool;

pub use builder::RemoteServerBuilder;
pub use error::{RemoteError, SharedError};
pub use install::Installed;
pub use list::MAX_TOOLS;
pub use server::{RemoteServer, RemoteStatus};
pub use tool::{RemoteTool, RemoteToolFuture};
