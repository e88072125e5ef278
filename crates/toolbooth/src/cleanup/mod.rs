//! Runs cleanup hooks at the end of a call, however it ends.
//!
//! Use it for what `Drop` cannot do because it takes time: closing a remote session, deleting a
//! temporary directory, releasing a lease. The tool, or its caller, registers a hook with
//! [`on_cleanup`](crate::CallContext::on_cleanup). The hook runs exactly once, on success, error,
//! panic, timeout and drop, on a task of its own, without delaying the caller. What `Drop` can do
//! needs no hook: the tool's future is dropped before its caller receives the error.
//!
//! ```
//! use std::time::Duration;
//! use serde_json::json;
//! use toolbooth::{CallContext, CleanupLayer, Outcome, TimeoutLayer, ToolCall, tool_fn};
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let cleanup = CleanupLayer::new();
//! let browse = tool_fn("browse", async |call: CallContext, _: ()| {
//!     call.on_cleanup(|outcome| async move {
//!         assert_eq!(outcome, Outcome::TimedOut); // close the browser session
//!     });
//!     std::future::pending::<Result<(), std::io::Error>>().await
//! });
//! let browse = ServiceBuilder::new()
//!     .layer(TimeoutLayer::new(Duration::from_secs(2)))
//!     .layer(cleanup.clone())
//!     .service(browse);
//!
//! assert!(browse.oneshot(ToolCall::new("browse", json!(null))).await.is_err());
//! let report = cleanup.drain(Duration::from_secs(1)).await;
//! assert_eq!((report.ran, report.failed, report.abandoned), (1, 0, 0));
//! # }
//! ```
//!
//! What else ends with a call, and what cannot be ended, is in the [guide].
//!
//! Hooks run last in, first out. Each runs for at most 5 s, or
//! [`with_hook_limit`](CleanupLayer::with_hook_limit). An attempt has at most 64. A hook that
//! panics or reaches its limit is reported and stops no other hook.
//!
//! # Readiness
//! Always ready. The inner service's readiness is polled inside the call's future.
//!
//! # Cancellation
//! Dropping the future runs the hooks. Tasks that the call [spawned](crate::CallContext::spawn) are
//! aborted at its end, before the caller sees the outcome, and awaited before the first hook runs.
//! They do not delay the caller, unless [`with_wait`](CleanupLayer::with_wait) is set.
//!
//! # Errors
//! `Overloaded` with the reason `ShuttingDown`, once the layer is [closed](CleanupLayer::close).
//! None of its own before.
//!
//! # Events
//! `CleanupStarted`, for each hook `CleanupFinished` or `CleanupFailed`, and `CleanupAbandoned` for
//! those that do not end. They may follow the terminal event of the call. All events layers around
//! the tool receive them, inside of this layer too, and also without a cleanup layer.
//!
//! # Clone
//! Clones of the layer, and services made from one layer value, share the counts and
//! [`drain`](CleanupLayer::drain).
//!
//! # Order
//! A hook receives the outcome that this layer sees. The innermost cleanup layer that sees the end
//! runs the hooks. Inside of a retry they run after each attempt; outside, after the call.
//!
//! # Panics
//! Hooks have limits, so on a runtime without time enabled none runs: they panic, as tokio's timers
//! do.
//!
//! # Cost
//! Nothing for a call without hooks; two allocations with
//! [`with_wait`](CleanupLayer::with_wait).
//! The first hook of an attempt allocates one box, the second a list. Each call with hooks spawns
//! one task.

mod future;
#[doc = include_str!("../../docs/cleanup.md")]
pub mod guide {}
mod layer;
mod runner;
mod service;

pub use crate::middleware::tracker::DrainReport;
pub use future::{ResponseFuture, ResponseWatch};
pub use layer::CleanupLayer;
pub use service::Cleanup;
