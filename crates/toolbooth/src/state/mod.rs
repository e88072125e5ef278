//! Typed values by key that the tools of one process share, with atomic operations.
//!
//! Use it for counters, caches and small records that several tools, or several calls of one tool,
//! change at the same time. Values that one tool owns belong into the tool: a closure that owns a
//! handle is enough.
//!
//! ```
//! use serde_json::json;
//! use toolbooth::{BoxError, CallContext, SharedState, StateLayer, ToolCall, tool_fn};
//! use tower::{Layer, ServiceExt};
//!
//! async fn visit(call: CallContext, page: String) -> Result<i64, BoxError> {
//!     let state = call.extension::<SharedState>().ok_or("there is no state")?;
//!     Ok(state.increment(&page, 1)?)
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let state = SharedState::new();
//! let tool = StateLayer::new(state.clone()).layer(tool_fn("visit", visit));
//! for visits in 1..=3 {
//!     let response = tool.clone().oneshot(ToolCall::new("visit", json!("/home"))).await?;
//!     assert_eq!(response.collect().await?.contents(), [json!(visits).into()]);
//! }
//! assert_eq!(state.get::<i64>("/home")?, Some(3));
//! # Ok(()) }
//! ```
//!
//! [`StateLayer`] provides the state to all calls inside, around one tool or a whole toolbox, and
//! to the [children](crate::CallContext::child) of these calls. For one state of a toolbox, add it
//! with `ToolboxBuilder::layer`. A caller can attach one to a call
//! instead, with [`with_extension`](crate::ToolCall::with_extension).
//!
//! # Operations
//! Each operation on a key is atomic, and the operations on one key are linearizable: they have one
//! order, which all threads observe. Nothing is atomic over several keys.
//!
//! | to | use |
//! |---|---|
//! | count | [`increment`](SharedState::increment) |
//! | compute a value from the last one | [`update`](SharedState::update) |
//! | change a value only if it is still the one that was read | [`compare_and_swap`](SharedState::compare_and_swap) |
//! | create a value once | [`get_or_insert_with`](SharedState::get_or_insert_with) |
//! | read a value, wait, and write it | [`lock`](SharedState::lock) |
//!
//! A value is read as a clone: the state hands out no reference to what it shares. A value such as
//! an `Arc<Mutex<_>>` is shared as usual. A read, an `await` and a [`set`](SharedState::set) are
//! not one operation: another call may write between them, and its write is lost.
//!
//! # Critical sections
//! [`lock`](SharedState::lock) waits for the other holders of a key in FIFO order. Its guard
//! releases the key when it is dropped, so also when the call that holds it expires. Each write of
//! the guard is atomic: the key then has the old value or the new one. The other operations do not
//! wait for the guard. If one of them changes the key meanwhile, the next write of the guard
//! returns [`StateError::Conflict`].
//!
//! # Bounds
//! 10,000 keys of at most 256 bytes by default. Nothing is evicted: a new key is rejected with
//! [`StateError::Full`] until one is [removed](SharedState::remove).
//!
//! # One process
//! The state is in memory, and ends with the process. Across processes, use a database, or the
//! conditional writes of a store such as Valkey.

mod error;
mod layer;
mod lock;
mod service;
mod shared;

pub use error::StateError;
pub use layer::StateLayer;
pub use lock::StateGuard;
pub use service::{ProvideState, ResponseFuture, ResponseWatch};
pub use shared::{SharedState, Versioned};
