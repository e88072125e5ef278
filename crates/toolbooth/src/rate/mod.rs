//! So many calls in a time.
//!
//! Use it in front of an API that counts calls by the second or the minute. For how many calls may run at the same time, use the
//! [concurrency limit](crate::concurrency).
//!
//! ```
//! use std::num::NonZeroU32;
//! use std::time::Duration;
//! use serde_json::json;
//! use toolbooth::{ErrorKind, Quota, RateLimitLayer, ToolCall, tool_fn};
//! use tower::{Layer, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let quota = Quota::per_second(NonZeroU32::new(10).ok_or("not 0")?).allow_burst(NonZeroU32::MIN);
//! let rate = RateLimitLayer::new(quota).reject();
//! let search = rate.layer(tool_fn("search", async |_: ()| Ok::<_, std::io::Error>("found")));
//!
//! search.clone().oneshot(ToolCall::new("search", json!(null))).await?;
//! let refused = search.oneshot(ToolCall::new("search", json!(null))).await;
//! let refused = refused.err().ok_or("there is one token")?;
//! assert_eq!(refused.kind(), ErrorKind::RateLimited);
//! assert_eq!(refused.retry_after(), Some(Duration::from_millis(100)));
//! # Ok(()) }
//! ```
//!
//! The rule is [governor]'s, the generic cell rate algorithm of ITU-T I.371: a bucket of `burst` tokens into which one
//! comes back every [`replenish_interval`](governor::Quota::replenish_interval). In any window `w`, at most
//! `burst + rate * (w + 1 ms)` calls start: tokio's timers tick in milliseconds, and a call that waited is charged for
//! when it was due within the last one. So a limit of 5,000 a second lets 5,000 a second start, however many wait; what the
//! thread itself is late, some tens of microseconds a wakeup, is lost to it, which shows above some 10,000 a second.
//!
//! # Readiness
//! Always ready: `LoadShed`, `Balance` and `ready()` outside see nothing of the waiting line. A call that finds a token takes it in
//! `call`; else it waits inside its future, in the order of first polls or [another](RateLimitLayer::with_order), and holds nothing further in. Asking for readiness spends nothing.
//!
//! # Cancellation
//! A call that is dropped in line has taken nothing, and all behind it move up. One that was granted a token and not yet polled
//! gives it back. A token that a started call took is spent, however the call ends.
//!
//! # Errors
//! `RateLimited`, with the time after which there is a token: in [`reject`](RateLimitLayer::reject) mode, and, when waiting, at once for
//! a call whose token would come at or after its deadline, or after [`with_max_wait`](RateLimitLayer::with_max_wait).
//! `Overloaded` where the line is full, where a call costs [more than the burst](RateLimitLayer::with_cost), and where its
//! [key](RateLimitLayer::by) is one too many; `InvalidArguments` where a key has more than 1,024 bytes. `Timeout` where the call's deadline has passed already. A refusal spends nothing.
//!
//! # Clone
//! Clones of the layer, and services made of one layer value, share one bucket, or [one for each tool](RateLimitLayer::per_tool),
//! [group of tools](RateLimitLayer::with_group) or [key](RateLimitLayer::by). A new value is a new bucket. [`set_quota`](RateLimitLayer::set_quota) changes it while calls wait.
//!
//! # Order
//! Outside a concurrency limit, a call that waits for a token holds no permit; the price is a token spent on a call that then
//! times out in the queue, or that the inner limit refuses. A timeout outside bounds the wait.
//!
//! There is no load-shed layer, and none is needed: [`reject`](RateLimitLayer::reject) refuses what finds no token and says when there is one,
//! [`with_max_wait`](RateLimitLayer::with_max_wait) what would wait too long, [`with_queue_capacity`](RateLimitLayer::with_queue_capacity) what finds too many in line.
//!
//! # Panics
//! A call that must wait does so on a tokio runtime; polled outside of one it panics, as tokio's timers do. Where the
//! runtime shuts down under it, it ends as cancelled.
//!
//! # Cost
//! A call that finds a token allocates nothing. A limit by tool or by key is looked up under a lock; and a call with a new key that finds
//! as many as may be looks for one that is idle: at all of them, or at 16 where that was done less than a microsecond a key before. One that waits is held on the heap, which is one
//! allocation; its place in the line has 72 bytes, and many of them are allocated at once. While anybody waits, each runtime on which somebody does has one task with one timer.

mod future;
pub(crate) mod gcra;
mod layer;
#[cfg(test)]
mod model;
#[cfg(test)]
mod model_line;
mod service;

pub use governor::Quota;

pub use future::{AcquireToken, ResponseFuture, ResponseWatch};
pub use layer::RateLimitLayer;
pub use service::RateLimit;
