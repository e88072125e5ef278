//! A limit on how long a call may take.
//!
//! Use it around every tool that talks to anything. The limit covers the whole call: waiting for permits, tokens and
//! readiness further in, running, and a streamed answer to its last byte, whether or not its consumer reads on.
//!
//! ```
//! use std::time::Duration;
//! use serde_json::json;
//! use toolbooth::{ErrorKind, PerTool, TimeoutLayer, ToolCall, tool_fn};
//! use tower::{Layer, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let limits = PerTool::new(Duration::from_secs(5)).with("file", Duration::from_secs(30));
//! let query = tool_fn("query", async |_: ()| {
//!     tokio::time::sleep(Duration::from_secs(6)).await;
//!     Ok::<_, std::io::Error>("42 rows")
//! });
//! let tool = TimeoutLayer::new(limits).layer(query);
//!
//! let timeout = tool.clone().oneshot(ToolCall::new("db", json!(null))).await.err().ok_or("6 s are too many")?;
//! assert_eq!(timeout.kind(), ErrorKind::Timeout);
//! assert_eq!(timeout.to_string(), "timed out after 5s (total limit of 5s)");
//!
//! tool.oneshot(ToolCall::new("file", json!(null))).await?;
//! # Ok(()) }
//! ```
//!
//! Which limit holds: the call's own ([`with_timeout`](crate::ToolCall::with_timeout), in place of the outermost timeout's), else the tool's,
//! else the layer's default. A limit further out and the caller's [`with_deadline`](crate::ToolCall::with_deadline) are caps on it. The error
//! names the limit that struck.
//!
//! # Readiness
//! Always ready; the inner service's readiness is waited for inside the call's future, and within the limit.
//!
//! # Cancellation
//! Dropping the future ends the call. When the limit strikes, in this order: the call's context is cancelled, the inner future
//! is dropped, what was kept of the result is attached, the error is returned. An answer that is ready when the limit strikes counts; of a
//! streamed answer, a piece that is ready then is delivered, and none after it. The consumer of a cut stream finds the error at its next poll; what stands inside is free by then.
//! A tool that never yields to the runtime cannot be cut by anything on its task; one that only uses up its cooperative budget is.
//!
//! # Errors
//! `Timeout`, with the scope (`total` or `deadline`), the length of that limit and the time that had passed. Timers tick in milliseconds: a limit strikes at the first full one at or after it.
//!
//! # Clone
//! Clones share the settings and nothing else.
//!
//! # Order
//! Outside a limit, the time spent waiting in line counts; inside, the limit begins when the call is admitted.
//!
//! # Panics
//! A call that is pending needs a tokio runtime with time enabled, and panics where there is none, as tokio's timers do.

mod future;
mod layer;
mod service;

pub use future::{ResponseFuture, ResponseWatch};
pub use layer::TimeoutLayer;
pub use service::Timeout;
