//! Limits that several processes share, in a store such as a Redis or Valkey server.
//!
//! An API key has one quota, however many processes use it.
//! [`RateLimitLayer::with_store`](crate::RateLimitLayer::with_store) and
//! [`ConcurrencyLimitLayer::with_store`](crate::ConcurrencyLimitLayer::with_store) keep the tokens
//! and the permits of a layer in a [`LimitStore`]. Everything else is as without a store: the order
//! of the layers, limits by tool and by key, costs, and the queue of each process with its
//! capacity, its order and the deadlines of its calls. The crate `toolbooth-redis` has the store
//! for Redis and Valkey.
//!
//! # Example
//! ```
//! use serde_json::json;
//! use toolbooth::shared::{SharedOptions, SharedStore};
//! use toolbooth::{ConcurrencyLimitLayer, ToolCall, tool_fn};
//! use toolbooth_test::MemoryStore;
//! use tower::{Layer, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), toolbooth::ToolError> {
//! // A store for tests: in a program, `toolbooth_redis::SharedLimits::connect`.
//! let store = SharedStore::new(MemoryStore::new(), SharedOptions::new());
//! let limit = ConcurrencyLimitLayer::new(10).with_store(&store, "github");
//! let tool = limit.layer(tool_fn("search", async |_: ()| Ok::<_, std::io::Error>("3 issues")));
//! tool.oneshot(ToolCall::new("search", json!(null))).await?;
//! # Ok(()) }
//! ```
//!
//! # What is sent
//! For each limit, or each key of it, a process has one task that sends commands, and is at most
//! one waiter in the store: on behalf of the first call in its own queue.
//!
//! - **Rate**: a call takes a token of all quotas of the layer, or a reservation of one with the
//!   time to wait for it, by one command. It sleeps once. A reservation of a call that leaves is
//!   returned if none was made after it. With [`SharedStore::with_prefetch`], a process takes
//!   tokens in advance, and most calls send no command.
//! - **Concurrency**: a call acquires a permit by one command. The release is sent without waiting
//!   for it. A process has one lease for its permits, and renews it every third of its time. A
//!   permit has a [`FencingNumber`].
//!
//! # What holds in each failure
//! [`SharedOptions::with_when_away`] selects what holds while the store does not answer:
//!
//! | What happens | [`Local`](WhenAway::Local) (default) | [`Closed`](WhenAway::Closed) | [`Open`](WhenAway::Open) |
//! |---|---|---|---|
//! | A reply takes longer than the [command timeout](SharedOptions::with_command_timeout) (50 ms) | The command is sent again. After three failures in a row, the store is away. | as `Local` | as `Local` |
//! | The store is away | Each process has the limit divided by the processes last seen, 1 at least. | Calls are rejected as `Overloaded` with a time to retry. | No limit. |
//! | A call holds a permit then | It goes on, and is registered again when the store is back. | It is cancelled with [`LeaseLost`](crate::CancelReason::LeaseLost) before the lease ends, measured on the clock of its process from before the command was sent. | as `Local` |
//! | The store is back | Within a second. | Within a second. | Within a second. |
//! | A process dies | Its permits are free at the end of its lease (10 s), if it waits, it is skipped. | as `Local` | as `Local` |
//! | The store restarts empty, or fails over to a replica that lags | Processes report their permits with the next command, after a third of the lease at the latest. Until then at most those permits are granted once more that were granted in what was lost, or whose last renewal was. A bucket starts full: at most a burst more. | as `Local` | as `Local` |
//! | One process does not reach the store, the others do | It has its share, the others have the whole limit after its lease has ended: up to twice the limit. | Never above the limit. | It has no limit. |
//! | The commands of one limit fail, and others do not, as with a key of another type | After three in a row, that limit holds as if the store were away, until a probe succeeds: one each second at least. | as `Local` | as `Local` |
//! | The clocks of the processes differ | No difference: only the clock of the store counts. | as `Local` | as `Local` |
//!
//! The clock of the store must not jump. Set forward, leases end earlier by that, so that permits
//! may be granted once more. Set back, tokens are available later by that, and so are the permits
//! of processes that have died.
//!
//! No call waits longer than without a store: its deadline ends each wait.
//!
//! # Bounds
//! - Concurrency, with a store that keeps its data: never more than the limit at once under
//!   `Closed`.
//! - Rate: in a window of the length w, at most `burst + rate x (w + d)` calls start by each quota,
//!   with the prefetch of each process on top. `d` is the delay between store and start: two
//!   command timeouts, 100 ms by default.
//! - Tokens of a reply that does not come within a lease are lost, and refill in time. Those of a
//!   reply that is late are returned, whole if no other process has reserved any since.
//! - A change of a limit in one process (`set_limit`, `set_quota`) reaches the others with their
//!   next command. `None` ends the limit of the one process. If a process starts with another limit
//!   than the last one that started, that of the newer one holds for all.
//! - The limit of a key is named `name/key` in the store. So no other layer may have such a name.
//!
//! # Another store
//! Implement [`LimitStore`]: four commands that each take effect as a whole. `MemoryStore` in
//! `toolbooth-test` is the reference, and the oracle of the tests against Redis and Valkey.

mod attempts;
mod fence;
mod handle;
mod health;
mod options;
mod place;
mod queue;
mod store;

pub(crate) use attempts::Attempts;
#[cfg(feature = "rate")]
pub(crate) use attempts::RETRY_PAUSE;
pub use fence::FencingNumber;
pub use handle::SharedStore;
pub(crate) use handle::{Bell, Link};
pub use options::{SharedOptions, WhenAway};
pub(crate) use place::Place;
pub(crate) use queue::{SharedQueue, StoreRejection, Waiting};
pub use store::{
    Heartbeat, Holder, LimitStore, Notify, PermitsUpdated, ReturnTokens, SetLimit, SharedQuota,
    StoreError, StoreFuture, TakeTokens, TokensTaken, UpdatePermits,
};
