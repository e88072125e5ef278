//! Limits how many calls run at once.
//!
//! Use it for what a tool's backend can take at the same time: connections, processes, memory. The
//! [rate limit](crate::rate) limits how many calls *start* in a time.
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
//! Always ready: `LoadShed`, `Balance` and `ready()` outside see nothing of the queue. A call that
//! finds a permit acquires it in `call`. Otherwise it waits inside its future, in the order of
//! first polls, and holds nothing of the inner service. An idle service holds no permit.
//!
//! A free permit goes to the call that has waited longest. No call overtakes, unless
//! [`with_order`](ConcurrencyLimitLayer::with_order) sets another order: by priority, with or
//! without aging, or in turns between keys.
//!
//! A permit is for everything inside of the call: inner layers of the same value, attempts of an
//! inner retry, and calls that the tool makes with [`child`](crate::CallContext::child), all of
//! which may run at once. They need no permit of their own, so no call waits for itself: one layer
//! value may wrap a toolbox and its tools, or a router and its routes, and a tool may call itself.
//! The first [cost](ConcurrencyLimitLayer::with_cost) counts. Each [key](ConcurrencyLimitLayer::by)
//! has permits of its own.
//!
//! # Cancellation
//! Dropping the future leaves the queue, or releases the permit. The permit of a streaming response
//! is held until the stream ends, fails or is dropped.
//!
//! By default the permit is released with the response, before cleanup hooks run and a program
//! after SIGTERM has ended: slow cleanup delays no other call. For an exclusive resource,
//! [`with_hold_until_ended`](ConcurrencyLimitLayer::with_hold_until_ended) keeps the permit until
//! hooks, tasks and programs have ended. [Blocking tasks](crate::CallContext::spawn_blocking) keep
//! it in both cases: they use the resource and cannot be stopped.
//! The [guide to cleanup](crate::cleanup::guide) lists what ends with a call, and what cannot.
//!
//! # Errors
//! | error | when |
//! |---|---|
//! | `Overloaded` | the queue is full: 1,024 calls, or [`with_queue_capacity`](ConcurrencyLimitLayer::with_queue_capacity) |
//! | `Overloaded` | the call has waited for [`with_max_wait`](ConcurrencyLimitLayer::with_max_wait) |
//! | `Overloaded` | it cannot start in time, by [`with_service_time`](ConcurrencyLimitLayer::with_service_time) |
//! | `Overloaded` | it takes [more permits](ConcurrencyLimitLayer::with_cost) than the limit, or the limit is 0 |
//! | `InvalidArguments` | its key has more than 1,024 bytes |
//! | `Timeout` | its deadline comes while it waits; a call that is granted at or after its deadline does not start |
//!
//! # Events
//! A call has `Queued` when it begins to wait, and `Admitted` when it is granted. One that need not
//! wait has neither. [`with_events`](ConcurrencyLimitLayer::with_events) delivers the changes of
//! the limit, and when new keys begin to share one because the table of keys is full.
//!
//! # Clone
//! Clones of the layer, and services made of one layer value, share one limit, or
//! [one for each tool](ConcurrencyLimitLayer::per_tool) or [key](ConcurrencyLimitLayer::by). A new
//! value is a new limit. [`set_limit`](ConcurrencyLimitLayer::set_limit) and the other `set_*`
//! methods change it while calls run and wait.
//!
//! # Order
//! A timeout outside bounds the wait; a timeout inside starts with the tool. A rate limit outside
//! spends its token before the call waits for a permit; with one inside, the call holds a permit
//! while it waits for a token. A call acquires the permits of nested limits from the outside in and
//! releases them from the inside out. In stacks of the same order no two calls wait for each other.
//!
//! No load-shed layer is needed.
//! [`with_queue_capacity(0)`](ConcurrencyLimitLayer::with_queue_capacity) rejects a call that finds
//! no permit, a capacity bounds how many calls wait, and
//! [`with_max_wait`](ConcurrencyLimitLayer::with_max_wait) how long. tower's `LoadShed` around
//! tower's `ConcurrencyLimit` strands permits: a service that was polled for readiness and shed the
//! call stays in tower's queue, and the next permit goes to it although it has no call. Here
//! nothing is acquired before there is a call, and a rejected call has left the queue.
//!
//! # Panics
//! A call that waits up to [`with_max_wait`](ConcurrencyLimitLayer::with_max_wait), or to a
//! deadline without an outer timeout layer, needs a tokio runtime with time enabled. Without one it
//! panics, as tokio's timers do.
//!
//! # Cost
//! A call that finds a permit allocates nothing. Where work of the call keeps the permit after its
//! end, there are up to three allocations. A limit by tool or by key is looked up under the
//! read lock of one of 64 shards.
//!
//! A call with a new key that finds the map full looks for a key at rest: among all keys, or among
//! 16 if that was done less than a microsecond a key ago.
//!
//! A call that waits is moved to the heap: one allocation. Its entry in the queue has some 100
//! bytes, and several are allocated at once. A wait with an end of its own has one allocation for a
//! timer.

mod debug;
mod future;
mod layer;
pub(crate) mod permits;
mod service;
mod shared;

pub use future::{ResponseFuture, ResponseWatch};
pub use layer::ConcurrencyLimitLayer;
pub use permits::AcquirePermit;
pub use service::ConcurrencyLimit;
