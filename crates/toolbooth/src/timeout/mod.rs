//! Limits how long a call may take.
//!
//! Use it around every tool that does I/O. The limit covers the whole call: waiting for permits,
//! tokens and readiness inside, running, and a streaming response to its last byte, whether or not
//! the consumer polls it.
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
//! let timeout = tool.clone().oneshot(ToolCall::new("db", json!(null))).await;
//! let timeout = timeout.err().ok_or("it takes longer than 5 s")?;
//! assert_eq!(timeout.kind(), ErrorKind::Timeout);
//! assert_eq!(timeout.to_string(), "timed out after 5s (total limit of 5s of `timeout`)");
//!
//! tool.oneshot(ToolCall::new("file", json!(null))).await?;
//! # Ok(()) }
//! ```
//!
//! [`set_limit`](TimeoutLayer::set_limit) and [`set_limit_for`](TimeoutLayer::set_limit_for)
//! change the limits of calls that start from then on.
//!
//! # Limits on progress
//!
//! A long call needs a limit on the time without activity rather than on the whole call:
//!
//! ```
//! use std::time::Duration;
//! use serde_json::json;
//! use toolbooth::{CallContext, PartialResultLayer, TimeoutLayer, ToolCall, tool_fn};
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let index = tool_fn("index", async |call: CallContext, files: u64| {
//!     for file in 0..files {
//!         call.progress(file, files, format!("file {file}"));
//!         tokio::time::sleep(Duration::from_secs(2)).await;
//!         if file == 100 {
//!             std::future::pending::<()>().await; // a read that hangs
//!         }
//!     }
//!     Ok::<_, std::io::Error>(files)
//! });
//! let limits = TimeoutLayer::new(Duration::from_secs(3_600)) // the whole call
//!     .with_idle(Duration::from_secs(5))                     // without activity
//!     .with_first_item(None)                                 // until the first item
//!     .with_grace(Duration::from_millis(500));               // to finish after a limit
//! let index = ServiceBuilder::new()
//!     .layer(limits)
//!     .layer(PartialResultLayer::new())
//!     .service(index);
//!
//! index.clone().oneshot(ToolCall::new("index", json!(100))).await?; // takes 200 s
//! let timeout = index.oneshot(ToolCall::new("index", json!(200))).await;
//! let timeout = timeout.err().ok_or("it hangs")?;
//! assert_eq!(timeout.to_string(), "timed out after 205.5s (idle limit of 5s of `timeout`)");
//! let progress = timeout.partial().and_then(|partial| partial.progress());
//! let progress = progress.ok_or("it reported progress")?;
//! assert_eq!((progress.done(), progress.message()), (100, Some("file 100")));
//! # Ok(()) }
//! ```
//!
//! Activity is:
//! - a [`heartbeat`](crate::CallContext::heartbeat),
//! - a report of [`progress`](crate::CallContext::progress),
//! - an [emitted](crate::CallContext::emit) item or a [`snapshot`](crate::CallContext::snapshot),
//! - an item or frame of a streaming response, on its way to the consumer.
//!
//! The last two are items of the result. These are no activity: the head of a streaming response, a
//! wait in an inner queue, the pause before a retry, and a consumer that does not poll. In the last
//! case the idle limit ends the stream and releases what it owns.
//!
//! The activity of an attempt counts for the outer limits of that attempt: for a timeout outside of
//! a retry that of all attempts, for one inside that of its own attempt. After the end of an
//! attempt its activity is ignored. Activity of a [child call](crate::CallContext::child) counts
//! for its parent, but items of the child's result are no items of the parent's.
//!
//! A limit on the first item applies until that item, and the idle limit from then on. Without a
//! limit on the first item, the idle limit applies from the start.
//!
//! # Which limit applies
//! The call's own ([`with_timeout`](crate::ToolCall::with_timeout), in place of the outermost
//! timeout's), otherwise the tool's, otherwise the layer's default. The same holds for an idle
//! limit ([`with_idle_timeout`](crate::ToolCall::with_idle_timeout)) and one on the first item
//! ([`with_first_item_timeout`](crate::ToolCall::with_first_item_timeout)).
//!
//! A limit of an outer layer on the whole call and the caller's
//! [`with_deadline`](crate::ToolCall::with_deadline) cap all of them. The error names the limit
//! that expired; in a tie, the one on the whole call.
//!
//! # Readiness
//! Always ready. The inner service's readiness is polled inside the call's future, within the
//! limit.
//!
//! # Cancellation
//! Dropping the future ends the call. When a limit expires, in this order: the call's context is
//! cancelled, the inner future is dropped, partial results are attached to the error, the error is
//! returned. A response that is ready at the limit counts. Of a streaming response, an item that is
//! ready at the limit is delivered, and none after it. The consumer of an expired stream receives
//! the error at its next poll; what the stream owned is released before.
//!
//! With a [grace period](TimeoutLayer::with_grace), the inner future is dropped at its end. A
//! buffered response that the tool returns in that time is the partial result of the error, even
//! without a partial-result layer; an error of the tool is the error's source. The period ends with
//! the caller's deadline and with an outer limit on the whole call. Streaming responses have none.
//! A call that waits in a queue inside leaves it at once. An events layer outside receives
//! `Expired` when the period starts.
//!
//! What ends with a call, and what cannot be ended, is in the
//! [guide to cleanup](crate::cleanup::guide). A tool that never yields to the runtime cannot be
//! dropped by anything on its task. One that uses up its cooperative budget can.
//!
//! # Errors
//! `Timeout`, with the scope (`total`, `deadline`, `idle` or `first_item`), that limit, and the
//! time that had passed. Timers tick in milliseconds: a limit expires at the first tick at or after
//! it.
//!
//! # Events
//! The terminal event of a call that expires is `TimedOut`, with the name of this layer.
//! [`with_events`](TimeoutLayer::with_events) delivers the changes of the limit.
//!
//! # Clone
//! Clones share the limits on whole calls, which `set_*` changes for all of them. `with_*` changes
//! a single value.
//!
//! # Order
//! Outside of a limit, the time in its queue counts, also as idle time. Inside, the timeout starts
//! when the call is admitted.
//!
//! # Cost
//! No allocation. A call that is ready at once creates no timer. A pending call with a limit has
//! one, inside of its future. An idle limit or one on the first item costs a call four allocations,
//! a grace period one. After the first `set_*`, each call reads the limits under a read lock.
//!
//! Activity reads the clock and stores the time once for each outer idle limit, under a lock that
//! is held for a moment, and touches no timer. Without an idle limit it is one load for most calls.
//! ([`progress`](crate::CallContext::progress) always takes a lock, to store the report.) The timer
//! is reset at most twice in an idle period, however much activity there is.
//!
//! # Panics
//! A pending call with a limit panics without a tokio runtime with time enabled, as tokio's timers
//! do.

mod future;
mod layer;
mod limits;
mod service;

pub use future::{ResponseFuture, ResponseWatch};
pub use layer::TimeoutLayer;
pub use service::Timeout;
