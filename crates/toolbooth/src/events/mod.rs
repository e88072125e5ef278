//! Reports what happens to calls, to sinks.
//!
//! Use it outside of the other layers, to see where the time of a call goes. The layer delivers one
//! [`Invoked`](EventKind::Invoked) and one terminal event for each call that passes it, and between
//! them what the layers inside and the tool report: waits in queues, the start of the tool, items,
//! progress, retries, cleanup. A [sink](EventSink) receives them: a closure, a
//! [channel](channel()), a [`TracingSink`] that makes spans, or one of another crate.
//!
//! ```
//! use std::sync::{Arc, Mutex};
//! use serde_json::json;
//! use toolbooth::{Event, EventsLayer, ToolCall, tool_fn};
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let seen = Arc::new(Mutex::new(Vec::new()));
//! let sink = { let seen = seen.clone(); move |event: &Event| seen.lock().unwrap().push(event.name()) };
//! let search = ServiceBuilder::new()
//!     .layer(EventsLayer::new(sink))
//!     .service(tool_fn("search", async |_: ()| Ok::<_, std::io::Error>("3 matches")));
//!
//! search.oneshot(ToolCall::new("search", json!(null))).await?;
//! assert_eq!(*seen.lock().unwrap(), ["tool.invoked", "tool.started", "tool.completed"]);
//! # Ok(()) }
//! ```
//!
//! # Readiness
//! Always ready. The inner service's readiness is polled inside the call's future.
//!
//! # Cancellation
//! Dropping the future ends the call, with the terminal event
//! [`Cancelled`](EventKind::Cancelled).
//!
//! # Errors
//! None of its own.
//!
//! # Clone
//! Clones share the sinks.
//!
//! # Order
//! The layer sees what happens inside of it. Outside of a retry, a call with three attempts has one
//! terminal event; inside, each attempt has one. A call that an outer layer ends has a terminal
//! event without an error. A call that an outer layer rejects does not reach this one.
//!
//! The tool starts when the innermost layer calls it. A service of another crate that calls its
//! inner service later, such as tower's `Buffer`, counts as the tool: a wait inside of it follows
//! [`Started`](EventKind::Started).
//!
//! # HTTP and gRPC
//! A response whose status is a failure ends with [`Failed`](EventKind::Failed) without an error,
//! whether or not its body is read: 408 and 500 to 599, or of gRPC unknown, deadline exceeded,
//! internal, unavailable and data loss, in the head or the trailers. The `error.type` is the
//! status, such as `503` or `UNAVAILABLE`. Each frame of a body is a [`Partial`](EventKind::Partial)
//! with its length.
//!
//! # Cost
//! Without a sink, a few instructions. With one, the call of the sink for each event.

mod channel;
mod future;
mod layer;
#[cfg(feature = "metrics")]
pub mod metrics;
mod service;
mod spans;
mod with_contents;

pub use channel::{ChannelSink, EventReceiver, channel};
pub use future::{ResponseFuture, ResponseWatch};
pub use layer::EventsLayer;
#[cfg(feature = "metrics")]
pub use metrics::MetricsSink;
pub use service::Events;
pub use spans::TracingSink;
pub use toolbooth_core::TraceContext;
pub use toolbooth_core::{Event, EventKind, EventSink, LimitChange};
pub use with_contents::WithContents;
