//! Limits how many calls start in a time.
//!
//! Use it in front of an API that counts calls by the second or the minute. The
//! [concurrency limit](crate::concurrency) limits how many calls run at once.
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
//! let rejected = search.oneshot(ToolCall::new("search", json!(null))).await;
//! let error = rejected.err().ok_or("there is one token")?;
//! assert_eq!(error.kind(), ErrorKind::RateLimited);
//! assert_eq!(error.retry_after(), Some(Duration::from_millis(100)));
//! # Ok(()) }
//! ```
//!
//! The rule is that of [governor], the generic cell rate algorithm of ITU-T I.371: a bucket of
//! `burst` tokens, into which one token comes back every
//! [`replenish_interval`](governor::Quota::replenish_interval). In any window `w`, at most
//! `burst + rate * (w + 1 ms)` calls start: tokio's timers tick in milliseconds, and a call that
//! waited is charged for when it was due within the last one. So a limit of 5,000 a second starts
//! 5,000 a second, however many wait. The time that the thread needs to wake up, some tens of
//! microseconds, is lost; that shows above some 10,000 a second.
//!
//! # Quotas and windows
//! | to limit | use |
//! |---|---|
//! | all calls together | [`RateLimitLayer::new`] |
//! | each tool, groups of tools | [`per_tool`](RateLimitLayer::per_tool), [`with_group`](RateLimitLayer::with_group) |
//! | each tenant or another key | [`by`](RateLimitLayer::by) |
//! | each API key, peer or path of HTTP | `RateLimitLayer::by_request` (feature `http`) |
//! | by several quotas, such as 10 a second and 1,000 a day | [`with_quota`](RateLimitLayer::with_quota) |
//! | to exactly n calls in any period | [`window`](RateLimitLayer::window), [`with_window`](RateLimitLayer::with_window) |
//! | by what a call costs | [`with_cost`](RateLimitLayer::with_cost) |
//! | by a cost that is known afterwards | [`with_adjustable_cost`](RateLimitLayer::with_adjustable_cost) |
//! | after an upstream 429 | [`with_cool_down`](RateLimitLayer::with_cool_down) |
//!
//! Several quotas and windows of one layer are decided together: a call takes its tokens of all of
//! them or of none, and waits for the one that lets it start last. Of two layers one inside the
//! other, the outer one takes its token first, and gets it back if the inner one rejects the call.
//!
//! # Refunds
//! A call that never starts gets its tokens back: one that a layer inside holds back until it ends,
//! in a queue or by a rejection. What has refilled by itself since is not refunded once more, so
//! the bound holds for the calls that start. A call inside another crate's layer counts as
//! started.
//!
//! # Readiness
//! Always ready: `LoadShed`, `Balance` and `ready()` outside see nothing of the queue. A call that
//! finds a token acquires it in `call`. Otherwise it waits inside its future, in the order of first
//! polls or [another](RateLimitLayer::with_order), and holds nothing of the inner service. Polling
//! for readiness spends nothing.
//!
//! A token is for one attempt. Inner layers of the same value, and the same key, take no other:
//! one value may wrap a toolbox and its tools. Later attempts and calls that the tool makes with
//! [`child`](crate::CallContext::child) take tokens of their own. The first
//! [cost](RateLimitLayer::with_cost) counts.
//!
//! # Cancellation
//! A call that is dropped while it waits has taken nothing, and all behind it move up. A call that
//! was granted a token and not polled since refunds it. So does a call that a layer inside holds
//! back until it ends. A started call has spent its token, however it ends.
//!
//! # Errors
//! | error | when |
//! |---|---|
//! | `RateLimited`, with the time until there is a token | in [`reject`](RateLimitLayer::reject) mode, if there is no token |
//! | `RateLimited`, at once | the token would come at or after the call's deadline, or after [`with_max_wait`](RateLimitLayer::with_max_wait) |
//! | `Overloaded` | the queue is full, or the call costs [more than the burst](RateLimitLayer::with_cost) |
//! | `InvalidArguments` | its key has more than 1,024 bytes |
//! | `Timeout` | its deadline has passed already |
//!
//! A rejected call spends nothing.
//!
//! # Events
//! A call has `Queued` when it begins to wait, and `Admitted` when it is granted. One that need not
//! wait has neither. [`with_events`](RateLimitLayer::with_events) delivers the changes of
//! the limit, and when new keys begin to share one because the table of keys is full.
//!
//! # Clone
//! Clones of the layer, and services made of one layer value, share one bucket, or [one for each
//! tool](RateLimitLayer::per_tool), [group of tools](RateLimitLayer::with_group) or
//! [key](RateLimitLayer::by). A new value is a new bucket. [`set_quota`](RateLimitLayer::set_quota)
//! and the other `set_*` methods change it while calls wait.
//!
//! # Order
//! Outside a concurrency limit, a call that waits for a token holds no permit. Its token is not
//! free for others while it waits in the inner queue. A timeout outside bounds the wait.
//!
//! No load-shed layer is needed: [`reject`](RateLimitLayer::reject) rejects a call that finds no
//! token and returns when there is one. [`with_max_wait`](RateLimitLayer::with_max_wait) rejects
//! what would wait too long, and [`with_queue_capacity`](RateLimitLayer::with_queue_capacity) what
//! finds too many waiters.
//!
//! # Panics
//! A call that must wait does so on a tokio runtime. Polled outside of one it panics, as tokio's
//! timers do. If the runtime shuts down meanwhile, the call ends as cancelled.
//!
//! # Cost
//! A call that finds a token allocates nothing. One quota is decided by one atomic; several quotas,
//! a window or a cool-down are decided under a lock. A limit by tool or by key is looked up under
//! the read lock of one of 64 shards.
//!
//! A call with a new key that finds the map full looks for a key at rest: among all keys, or among
//! 16 if that was done less than a microsecond a key ago.
//!
//! A call that waits is moved to the heap: one allocation. Its entry in the queue has some 100
//! bytes, and several are allocated at once. While calls wait, each runtime on which one does has
//! one task with one timer.

mod cool_down;
mod cost;
mod debug;
mod future;
pub(crate) mod gcra;
mod handle;
mod layer;
#[cfg(test)]
mod model;
#[cfg(test)]
mod queue_model;
pub(crate) mod rates;
mod service;
mod several;
#[cfg(test)]
mod several_model;
mod shared;
mod window;

pub use governor::Quota;

pub use future::{AcquireToken, ResponseFuture, ResponseWatch};
pub use layer::RateLimitLayer;
pub use service::RateLimit;
