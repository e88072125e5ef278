//! Each call on a task of its own.
//!
//! Use it around tools that compute for long or block their thread without saying so: on a runtime of more than one thread, their callers,
//! and a timeout outside, go on meanwhile. For work that is known to block, `tokio::task::spawn_blocking` inside the tool is better still, since
//! it keeps the runtime's own threads free. Where only panics are to be contained, the [`CatchPanicLayer`](crate::CatchPanicLayer) costs less.
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
//!         // Blocks its thread, which no limit on the same task could do anything about.
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
//! The task starts at the first poll of the call's future, on the runtime on which that is, and carries the span that is current there. What is inside gets as
//! far as its readiness and its `call` on the caller's task: so permits and tokens are taken in order. A streamed answer is read by its consumer, on the consumer's task.
//!
//! # Readiness
//! Always ready; the inner service is waited for inside the call's future, on the caller's task.
//!
//! # Cancellation
//! Dropping the future ends the call: what is inside is dropped then and there, and the task is aborted. While the tool is running on
//! another thread in that very moment, nobody waits for it: it is dropped when it next yields, and until then what stands inside this layer, such as
//! a permit, is not given back. Cleanup begins with waiting for that: it counts as one more hook of the call, and a
//! [`drain`](crate::CleanupLayer::drain) waits for it, wherever the cleanup layer stands.
//! A limit that strikes in that moment wins over an answer that the tool is about to give.
//! What ends with a call, and what cannot be ended, is in the [guide to cleanup](crate::cleanup::guide).
//!
//! # Errors
//! `Panicked`, with the panic's text, as from the [`CatchPanicLayer`](crate::CatchPanicLayer). `Cancelled`, with the reason `shutdown`, where the task's runtime
//! was shut down.
//!
//! # Clone
//! Clones share nothing.
//!
//! # Order
//! Timeouts stand outside. A concurrency limit inside counts a tool until it has really stopped, one outside only as long as somebody waits for it.
//!
//! # Panics
//! Polled for the first time where there is no tokio runtime, a call panics, as `tokio::spawn` does.
//!
//! # Cost
//! Three allocations, one of which is the task; another handle of the context; and the way to the task and back, which is some microseconds.

mod future;
mod layer;
mod service;
mod task;

pub use future::{ResponseFuture, ResponseWatch};
pub use layer::SpawnLayer;
pub use service::Spawn;
