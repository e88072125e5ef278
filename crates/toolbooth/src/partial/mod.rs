//! Keeps partial results, for calls that end early.
//!
//! Use it around tools that produce their result item by item. The layer keeps what the tool
//! [emits](crate::CallContext::emit) or streams, its last [snapshot](crate::CallContext::snapshot)
//! and its last report of [progress](crate::CallContext::progress). They are attached to the error
//! that ends the call, whichever layer creates that error:
//! [`ToolError::partial`](crate::ToolError::partial). Nothing is attached to a success.
//!
//! To receive the same while the call runs, take its [updates](crate::ToolCall::updates). They need
//! no layer.
//!
//! ```
//! use std::time::Duration;
//! use serde_json::json;
//! use toolbooth::{CallContext, PartialResultLayer, TimeoutLayer, ToolCall, tool_fn};
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let crawl = tool_fn("crawl", async |call: CallContext, _: ()| {
//!     for page in ["index", "about", "contact"] {
//!         call.emit(page);
//!         tokio::time::sleep(Duration::from_millis(400)).await;
//!     }
//!     Ok::<_, std::io::Error>("3 pages")
//! });
//! let crawl = ServiceBuilder::new()
//!     .layer(TimeoutLayer::new(Duration::from_secs(1)))
//!     .layer(PartialResultLayer::new())
//!     .service(crawl);
//!
//! let timeout = crawl.oneshot(ToolCall::new("crawl", json!(null))).await;
//! let timeout = timeout.err().ok_or("it takes longer than 1 s")?;
//! let partial = timeout.partial().ok_or("three pages were emitted")?;
//! assert_eq!(partial.contents().len(), 3);
//! # Ok(()) }
//! ```
//!
//! # Readiness
//! Always ready. The inner service's readiness is polled inside the call's future.
//!
//! # Cancellation
//! Dropping the future ends the call. Cleanup hooks can still read what was kept. What ends with a
//! call, and what cannot be ended, is in the [guide to cleanup](crate::cleanup::guide).
//!
//! # Errors
//! None of its own.
//!
//! # Clone
//! Clones share the bounds. What is kept belongs to the call.
//!
//! # Order
//! Outside or inside of a timeout makes no difference to what is attached. With a retry, the error
//! contains what the last attempt that published anything had kept. The bounds are those of the
//! outermost partial-result layer.
//!
//! # Cost
//! Nothing for a call that emits nothing. Otherwise the contents, and one buffer for each attempt.
//! Readers of updates, and event sinks that want contents, share emitted contents with the buffer,
//! for one allocation each. If one of them still has any when the contents of an error are read,
//! the contents are copied then, once. Each item of a streaming response is copied, because its
//! consumer owns it.

mod layer;
mod service;

pub use layer::PartialResultLayer;
pub use service::{PartialResult, ResponseFuture, ResponseWatch};
