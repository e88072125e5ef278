//! So many calls at once.
//!
//! Use it for what a tool's backend can take at the same time: connections, processes, memory. For how many calls may
//! *start* in a time, use the [rate limit](crate::rate).
//!
//! ```
//! use serde_json::json;
//! use toolbooth::{ConcurrencyLimitLayer, ToolCall, tool_fn};
//! use tower::{Layer, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), toolbooth::ToolError> {
//! let limit = ConcurrencyLimitLayer::new(10);
//! let query = tool_fn("query", async |_: ()| {
//!     tokio::time::sleep(std::time::Duration::from_millis(10)).await;
//!     Ok::<_, std::io::Error>("42 rows")
//! });
//! let query = limit.layer(query);
//!
//! let first = query.clone().oneshot(ToolCall::new("query", json!(null)));
//! let second = query.clone().oneshot(ToolCall::new("query", json!(null)));
//! let (first, second) = tokio::join!(first, second);
//! assert_eq!(first?.collect().await?.text(), "42 rows");
//! assert_eq!(second?.collect().await?.text(), "42 rows");
//! assert_eq!((limit.available(), limit.in_flight(), limit.queued()), (10, 0, 0));
//! # Ok(()) }
//! ```
//!
//! # Readiness
//! Always ready: `LoadShed`, `Balance` and `ready()` outside see nothing of the waiting line. A call that finds a permit
//! takes it in `call`; else it waits inside its future, in the order of first polls, and holds nothing further in. An idle service
//! holds no permit. A free permit goes to the call that waits longest; nobody is overtaken, unless
//! [`with_order`](ConcurrencyLimitLayer::with_order) says who is: by priority, with or without aging, or in turns between keys.
//!
//! A call that a tool makes with [`child`](crate::CallContext::child) through a limit of which its own call, or one above it, holds a permit
//! needs none of its own: the permit is for all that the call makes, at once or one after the other. So a tool that calls through
//! the limit that it stands in does not wait for itself.
//!
//! # Cancellation
//! Dropping the future gives up the place, or gives the permit back. The permit of a streamed answer is held until the stream ends,
//! fails or is dropped.
//! What ends with a call, and what cannot be ended, is in the [guide to cleanup](crate::cleanup::guide).
//!
//! # Errors
//! `Overloaded` where the line is full (1,024 calls, or
//! [`with_queue_capacity`](ConcurrencyLimitLayer::with_queue_capacity)), where the call waited
//! [as long as it may](ConcurrencyLimitLayer::with_max_wait), where it could not start in time by
//! [the estimate](ConcurrencyLimitLayer::with_service_time), where it takes [more permits](ConcurrencyLimitLayer::with_cost) than
//! there are, where its [key](ConcurrencyLimitLayer::by) is one too many, and where the limit is 0. `InvalidArguments` where a key has more than 1,024 bytes. `Timeout` where the call's deadline comes while
//! it waits; a call that is admitted at or after its deadline is not started.
//!
//! # Clone
//! Clones of the layer, and services made of one layer value, share one limit, or [one for each tool](ConcurrencyLimitLayer::per_tool) or
//! [key](ConcurrencyLimitLayer::by). A new value is a new limit. [`set_limit`](ConcurrencyLimitLayer::set_limit) changes it while calls run and wait.
//!
//! # Order
//! A timeout outside bounds the wait, one inside begins when the tool does. A rate limit outside spends its token before the
//! call waits for a permit; inside, the call holds a permit while it waits for a token. Where several of these limits stand in each other, a call takes
//! their permits from the outside in and gives them back from the inside out: in the same order in every stack, no two calls wait for each other.
//!
//! There is no load-shed layer, and none is needed. [`with_queue_capacity(0)`](ConcurrencyLimitLayer::with_queue_capacity) refuses what finds no permit,
//! a capacity bounds how many wait, and [`with_max_wait`](ConcurrencyLimitLayer::with_max_wait) how long. tower's `LoadShed` around tower's
//! `ConcurrencyLimit` strands permits: a service that was asked for its readiness, and shed the call, keeps its place in tower's line, and the permit that comes next goes to
//! it, though it has no call. Here nothing is asked for before there is a call, and a call that is refused has left the line.
//!
//! # Panics
//! A call that waits up to [`with_max_wait`](ConcurrencyLimitLayer::with_max_wait), or to a deadline without a timeout around, needs a tokio
//! runtime with time enabled, and panics where there is none, as tokio's timers do.
//!
//! # Cost
//! A call that finds a permit allocates nothing. A limit by tool or by key is looked up under a lock; and a call with a new key that finds
//! as many as may be looks for one that is idle: at all of them, or at 16 where that was done less than a microsecond a key before. One that waits is held on the heap, which is one
//! allocation; its place in the line has 72 bytes, and many of them are allocated at once. There is one more allocation for the timer of a wait that has an end of its own.

mod future;
mod layer;
pub(crate) mod permits;
mod service;

pub use future::{ResponseFuture, ResponseWatch};
pub use layer::ConcurrencyLimitLayer;
pub use permits::AcquirePermit;
pub use service::ConcurrencyLimit;
