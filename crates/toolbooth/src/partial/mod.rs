//! Keeping what a call has produced, for when it is cut short.
//!
//! Use it around tools that produce their result bit by bit. What the tool [emits](crate::CallContext::emit) or
//! streams, its last [snapshot](crate::CallContext::snapshot), and how far it last said it [was](crate::CallContext::progress), is attached to the error that ends the call early, whichever layer makes
//! that error: [`ToolError::partial`](crate::ToolError::partial). On success nothing is attached.
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
//! let timeout = crawl.oneshot(ToolCall::new("crawl", json!(null))).await.err().ok_or("too slow")?;
//! let partial = timeout.partial().ok_or("three pages were emitted")?;
//! assert_eq!(partial.contents().len(), 3);
//! # Ok(()) }
//! ```
//!
//! # Readiness
//! Always ready; the inner service is waited for inside the call's future.
//!
//! What is emitted costs what its contents and one buffer for each attempt cost; a call that emits nothing pays nothing.
//!
//! # Cancellation
//! Dropping the future ends the call; what was kept is still there for cleanup hooks.
//! What ends with a call, and what cannot be ended, is in the [guide to cleanup](crate::cleanup::guide).
//!
//! # Errors
//! None of its own.
//!
//! # Clone
//! What is kept belongs to the call. Clones share nothing but the bounds.
//!
//! # Order
//! Outside or inside a timeout makes no difference to what is attached. With a retry, the error takes along what the last
//! attempt that published any had kept. Bounds are those of the outermost such layer.

mod layer;
mod service;

pub use layer::PartialResultLayer;
pub use service::{PartialResult, ResponseFuture, ResponseWatch};
