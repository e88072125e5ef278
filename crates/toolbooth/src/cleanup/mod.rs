//! Cleanup that runs however a call ends.
//!
//! Use it where a tool leaves something behind that `Drop` cannot undo because undoing it takes time: a remote session, a
//! temporary directory, a lease. The tool, or its caller, registers a hook with
//! [`on_cleanup`](crate::CallContext::on_cleanup); it runs exactly once, on success, error, panic, timeout and drop, on a task of its
//! own, so that nobody waits for it. What `Drop` can undo needs no hook: the tool's future is dropped before its caller sees the error.
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
//!         assert_eq!(outcome, Outcome::TimedOut); // close the browser session here
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
//! Hooks run last in first out, each for 5 s at most or [`with_hook_limit`](CleanupLayer::with_hook_limit); at most
//! 64 for an attempt of a call. One that panics or overruns is reported and stops no other.
//!
//! # Readiness
//! Always ready; the inner service is waited for inside the call's future.
//!
//! # Cancellation
//! Dropping the future runs the hooks. Tasks that the call [started](crate::CallContext::spawn) are told to stop at its end, before the caller sees the outcome, and are
//! waited for before the first hook runs. They do not delay the caller, unless [`with_wait`](CleanupLayer::with_wait) says so.
//!
//! # Errors
//! `Cancelled`, for shutdown, once the layer is [closed](CleanupLayer::close); none of its own before.
//!
//! # Clone
//! Clones of the layer, and services made of one layer value, share the count and [`drain`](CleanupLayer::drain).
//!
//! # Order
//! The outcome that a hook is told is what this layer saw. The innermost cleanup layer that sees the end runs the hooks. Inside a
//! retry they run after each attempt; outside, after the call.
//!
//! # Panics
//! Hooks have limits, so that a runtime without time enabled runs none: they panic there, as tokio's timers do.
//!
//! # Cost
//! A call without hooks pays nothing, unless its answer is to [wait](CleanupLayer::with_wait) for them: two allocations. The first hook of an attempt allocates a place for all; running hooks takes one task for each call that has any.

mod future;
#[doc = include_str!("../../docs/cleanup.md")]
pub mod guide {}
mod layer;
mod runner;
mod service;
mod tracker;

pub use future::{ResponseFuture, ResponseWatch};
pub use layer::CleanupLayer;
pub use service::Cleanup;
pub use tracker::DrainReport;
