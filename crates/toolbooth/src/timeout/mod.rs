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
//! # A limit that knows progress from a hang
//!
//! A long call needs a limit on the time without a sign of life rather than one on the whole:
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
//!             std::future::pending::<()>().await; // a file that nobody can read
//!         }
//!     }
//!     Ok::<_, std::io::Error>(files)
//! });
//! let limits = TimeoutLayer::new(Duration::from_secs(3_600)) // in all
//!     .with_idle(Duration::from_secs(5))                     // without a sign of life
//!     .with_first_item(None)                                 // until something of the result is there
//!     .with_grace(Duration::from_millis(500));               // to finish by itself, once a limit has struck
//! let index = ServiceBuilder::new()
//!     .layer(limits)
//!     .layer(PartialResultLayer::new())
//!     .service(index);
//!
//! index.clone().oneshot(ToolCall::new("index", json!(100))).await?; // takes 200 s
//! let timeout = index.oneshot(ToolCall::new("index", json!(200))).await.err().ok_or("it hangs")?;
//! assert_eq!(timeout.to_string(), "timed out after 205.5s (idle limit of 5s)");
//! let progress = timeout.partial().and_then(|partial| partial.progress()).ok_or("it said how far it was")?;
//! assert_eq!((progress.done(), progress.message()), (100, Some("file 100")));
//! # Ok(()) }
//! ```
//!
//! Signs of life are a [`heartbeat`](crate::CallContext::heartbeat), a report of [`progress`](crate::CallContext::progress), whatever is
//! [emitted](crate::CallContext::emit) or published as a [`snapshot`](crate::CallContext::snapshot), and a streamed piece or frame on its way to
//! the consumer; of these, the last three are items of the result. The head of a streamed answer is none, nor is a wait in a line further in, nor the pause before a retry.
//! Signs of an attempt count for the limits around that attempt: for one outside of a retry those of all attempts, for one inside those of its own.
//! Those of an attempt that is over count for none. Those of a [call that the call makes](crate::CallContext::child) count for it, but items of that call's result are none of its own.
//!
//! Where there is a limit on the first item, it holds until then, and the idle limit from then on; else the idle limit holds from the start. A consumer
//! that does not take the next piece of a stream is no sign of life, either: an idle limit cuts the stream and frees what it holds.
//!
//! # Which limit holds
//! The call's own ([`with_timeout`](crate::ToolCall::with_timeout), in place of the outermost timeout's), else the tool's,
//! else the layer's default. So it is with an idle limit ([`with_idle_timeout`](crate::ToolCall::with_idle_timeout)) and one on the first item
//! ([`with_first_item_timeout`](crate::ToolCall::with_first_item_timeout)). A limit on the whole call further out and the caller's [`with_deadline`](crate::ToolCall::with_deadline) are caps on all of them. The error
//! names the limit that struck; of two that strike in one moment, the one on the whole call.
//!
//! # Readiness
//! Always ready; the inner service's readiness is waited for inside the call's future, and within the limit.
//!
//! # Cancellation
//! Dropping the future ends the call. When the limit strikes, in this order: the call's context is cancelled, the inner future
//! is dropped, what was kept of the result is attached, the error is returned. An answer that is ready when the limit strikes counts; of a
//! streamed answer, a piece that is ready then is delivered, and none after it. The consumer of a cut stream finds the error at its next poll; what stands inside is free by then.
//! With a [grace](TimeoutLayer::with_grace), the inner future is not dropped before the tool had that time to finish by itself. What the tool answers in it, whole, is
//! the partial result of the error, whether or not a layer keeps partial results; what it fails with is the error's source. The grace ends with the caller's deadline and with a limit on
//! the whole call further out; streamed answers have none; a call that still waits in a line further in leaves it at once.
//! What ends with a call, and what cannot be ended, is in the [guide to cleanup](crate::cleanup::guide).
//!
//! A tool that never yields to the runtime cannot be cut by anything on its task; one that only uses up its cooperative budget is.
//!
//! # Errors
//! `Timeout`, with the scope (`total`, `deadline`, `idle` or `first_item`), the length of that limit and the time that had passed. Timers tick in milliseconds: a limit strikes at the first full one at or after it.
//!
//! # Clone
//! Clones share the settings and nothing else.
//!
//! # Order
//! Outside a limit, the time spent waiting in line counts, as idle time, too; inside, the limits begin when the call is admitted.
//!
//! # Cost
//! A call that is ready at once makes no timer; one that is pending has one, where there is a limit, in an allocation of its own that the thread keeps for the next such call. A sign of life reads the clock and stores it once for each idle limit around: no lock, no timer; where there is none, it is one load
//! ([`progress`](crate::CallContext::progress) takes a lock all the same, to keep what it is told). The timer looks at the last one when it fires: it is reset at most twice in an idle
//! period, however many there are. An idle limit or one on the first item costs a call four allocations, a grace one.
//!
//! # Panics
//! A call that is pending needs a tokio runtime with time enabled, and panics where there is none, as tokio's timers do.

mod future;
mod layer;
mod limits;
mod service;
mod timer;

pub use future::{ResponseFuture, ResponseWatch};
pub use layer::TimeoutLayer;
pub use service::Timeout;
