//! Runs calls with the same idempotency key once, and shares the complete response.
//!
//! Use it for tools that must not run twice when a client repeats a call, such as a payment or a
//! mail. It is opt-in: it applies to calls with a
//! [key](crate::ToolCall::with_idempotency_key), and all others pass. It wraps services of
//! [`ToolCall`](crate::ToolCall)s whose arguments have a hash. To repeat failed calls, use
//! `RetryPolicy`.
//!
//! ```
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicU32, Ordering};
//! use serde_json::json;
//! use toolbooth::{BoxError, ErrorKind, IdempotencyLayer, ToolCall, tool_fn};
//! use tower::{Layer, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let payments = Arc::new(AtomicU32::new(0));
//! let count = Arc::clone(&payments);
//! let pay = tool_fn("pay", move |cents: u64| {
//!     let payment = count.fetch_add(1, Ordering::Relaxed) + 1;
//!     async move { Ok::<_, BoxError>(format!("payment {payment} of {cents}")) }
//! });
//! let pay = IdempotencyLayer::new().layer(pay);
//!
//! let call = |cents: u64| ToolCall::new("pay", json!(cents)).with_idempotency_key("order 7");
//! for _ in 0..3 {
//!     let response = pay.clone().oneshot(call(500)).await?.collect().await?;
//!     assert_eq!(response.text(), "payment 1 of 500");
//! }
//! assert_eq!(payments.load(Ordering::Relaxed), 1);
//!
//! let other = pay.oneshot(call(900)).await.err().ok_or("the key has other arguments")?;
//! assert_eq!(other.kind(), ErrorKind::InvalidArguments);
//! # Ok(()) }
//! ```
//!
//! | a call with the key of | receives |
//! |---|---|
//! | no call within the lifetime | its own response: it runs |
//! | a call that runs | the response of that call, when that has ended |
//! | a call that succeeded | the stored response |
//! | a call that failed, was cancelled or was dropped | its own response: the next call that waits runs |
//! | a call with other arguments | an error |
//!
//! A key belongs to a tool and a tenant: other tools and tenants use the same keys on their own.
//! The arguments are compared by a hash of 64 bits.
//!
//! Only a complete response is shared: not a partial one, and not one that
//! [reports an error](crate::ToolOutput::is_error). A streaming response is streamed to the call
//! that runs, and recorded. The others receive it buffered, when it is complete.
//!
//! # Bounds
//! A stored response is kept for 10 minutes, up to 10,000 keys and 64 MiB in all. Beyond that, the
//! oldest ones are removed, and their calls would run again. Of a response above 1 MiB only the
//! fact is stored: repeated calls receive an error and do not run. Keys have at most 256 bytes. If
//! all keys belong to calls that run, a new key is rejected.
//!
//! The responses are in the memory of one process. Across processes, the tool itself has to check
//! the key, such as with a unique index of its database.
//!
//! # Readiness
//! Always ready. The inner service's readiness is polled inside the call's future.
//!
//! # Cancellation
//! Dropping the future ends the call. If it runs, the next call that waits for its response runs
//! instead. Blocking work that outlives the call keeps the key until it has ended.
//!
//! # Errors
//! `InvalidArguments` for a key with other arguments, for one that is too long, and for arguments
//! that nest deeper than [`MAX_JSON_DEPTH`](crate::MAX_JSON_DEPTH). `Overloaded` with
//! the reason `TooManyKeys` if all keys are in use. A failure of the tool for a response that is
//! too large to share. A call that waits obeys its deadline, and the error of a timeout has the
//! name of this layer as its [`queue`](crate::ToolError::queue).
//!
//! # Events
//! A call that returns the response of another one has no `Started`. If it waits for that call it
//! has `Queued`, and `Admitted` only if it runs after all.
//!
//! # Clone
//! Clones of the layer, and services made from one layer value, share the keys.
//!
//! # Order
//! Outside of a rate limit, a concurrency limit and a circuit breaker, a shared response takes no
//! token and no permit. A timeout outside bounds the wait for the response of another call. Inside
//! of a retry, a failed attempt is followed by one that runs. A call that passes the same layer
//! twice takes its key once.
//!
//! Around a toolbox, a call that receives a shared response does not pass the gate. If every call
//! has to pass it, add the layer with [`ToolboxBuilder::layer`](crate::toolbox::ToolboxBuilder::layer).

mod future;
mod layer;
mod service;
mod store;

pub use future::{ResponseFuture, ResponseWatch, Wait};
pub use layer::IdempotencyLayer;
pub use service::Idempotency;
