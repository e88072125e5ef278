//! Runs each call on a task of its own.
//!
//! Use it around tools that compute for long or block their thread. On a multi-threaded runtime
//! their callers, and a timeout outside, continue meanwhile. For work that is known to block,
//! `tokio::task::spawn_blocking` inside the tool is better still, since it keeps the runtime's own
//! threads free. To catch panics alone, [`CatchPanicLayer`](crate::CatchPanicLayer) costs less.
//!
//! ```
//! use std::time::Duration;
//! use serde_json::json;
//! use toolbooth::{ErrorKind, SpawnLayer, TimeoutLayer, ToolCall, tool_fn};
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # #[tokio::main(flavor = "multi_thread", worker_threads = 2)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (stop, stopped) = std::sync::mpsc::channel::<()>();
//! let stopped = std::sync::Mutex::new(stopped);
//! let stopped = std::sync::Arc::new(stopped);
//! let blocks = tool_fn("blocks", move |_: ()| {
//!     let stopped = std::sync::Arc::clone(&stopped);
//!     async move {
//!         // Blocks its thread: a timeout on the same task could not expire.
//!         let stopped = stopped.lock().map_err(|_| "poisoned")?;
//!         Ok::<_, &str>(stopped.recv().is_ok())
//!     }
//! });
//! let tool = ServiceBuilder::new()
//!     .layer(TimeoutLayer::new(Duration::from_millis(20)))
//!     .layer(SpawnLayer::new())
//!     .service(blocks);
//!
//! let call = tokio::spawn(tool.oneshot(ToolCall::new("blocks", json!(null))));
//! let error = call.await?.err().ok_or("it blocks for longer")?;
//! assert_eq!(error.kind(), ErrorKind::Timeout);
//! stop.send(())?;
//! # Ok(()) }
//! ```
//!
//! The inner service's readiness is polled, and its `call` runs, on the caller's task, so permits
//! and tokens are acquired in order. The first poll of the call's future spawns the task, on the
//! runtime of that poll. A streaming response is polled by its consumer, on the consumer's task.
//!
//! The task runs in the tracing span that is current at that poll: the span of the call, if an
//! [`EventsLayer`](crate::EventsLayer) with a [`TracingSink`](crate::events::TracingSink) is
//! outside. Task-locals of the caller are not carried: a tool reads what belongs to the call from
//! its [context](crate::CallContext).
//!
//! # Readiness
//! Always ready. The inner service's readiness is polled inside the call's future, on the caller's
//! task.
//!
//! # Cancellation
//! Dropping the future ends the call: the inner future is dropped at once, and the task is aborted.
//! If another thread polls the inner future at that moment, the caller does not wait for it. The
//! inner future is then dropped when the tool next yields, and what it owns, such as a permit, is
//! released then. Cleanup starts with waiting for that: it counts as one more hook of the call, and
//! a [`drain`](crate::CleanupLayer::drain) waits for it, for any position of the cleanup layer.
//! A limit that expires at that moment wins over the response.
//!
//! What ends with a call, and what cannot be ended, is in the
//! [guide to cleanup](crate::cleanup::guide).
//!
//! # Errors
//! `Panicked`, with the panic's message, as from [`CatchPanicLayer`](crate::CatchPanicLayer).
//! `Cancelled` with the reason `Shutdown`, if the task's runtime was shut down.
//!
//! # Clone
//! Clones share nothing.
//!
//! # Order
//! Timeouts belong outside. A concurrency limit inside counts a tool until it has really stopped;
//! one outside counts it only while its caller waits, unless it is
//! [held until all has ended](crate::ConcurrencyLimitLayer::with_hold_until_ended).
//!
//! # Panics
//! The first poll of a call panics outside of a tokio runtime, as `tokio::spawn` does.
//!
//! # Cost
//! Three allocations, one of which is the task, one more handle of the context, and some
//! microseconds for the way to the task and back.

mod future;
mod layer;
mod service;
mod task;

pub use future::{ResponseFuture, ResponseWatch};
pub use layer::SpawnLayer;
pub use service::Spawn;
