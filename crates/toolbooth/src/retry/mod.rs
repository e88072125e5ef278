//! Calls that are made again when they fail: a policy for tower's own [`RetryLayer`](tower::retry::RetryLayer).
//!
//! Use it around tools that fail for a while and then work again. For a tool that stays broken, a budget bounds what is asked
//! of it in vain.
//!
//! ```
//! use std::time::Duration;
//! use serde_json::json;
//! use toolbooth::{CallContext, RetryPolicy, TimeoutLayer, ToolCall, tool_fn};
//! use tower::retry::RetryLayer;
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let fetch = tool_fn("fetch", async |call: CallContext, _: ()| {
//!     if call.attempt() < 3 {
//!         std::future::pending::<()>().await; // it hangs
//!     }
//!     Ok::<_, std::io::Error>(format!("at attempt {}", call.attempt()))
//! });
//! let fetch = ServiceBuilder::new()
//!     .layer(TimeoutLayer::new(Duration::from_secs(60))) // for all attempts together
//!     .layer(RetryLayer::new(RetryPolicy::new(5)))
//!     .layer(TimeoutLayer::new(Duration::from_secs(2))) // for each
//!     .service(fetch);
//!
//! let answer = fetch.oneshot(ToolCall::new("fetch", json!(null))).await?.collect().await?;
//! assert_eq!(answer.text(), "at attempt 3");
//! # Ok(()) }
//! ```
//!
//! # What is retried
//!
//! | the error | retried |
//! |---|---|
//! | a refusal: `RateLimited`, `Overloaded`, `CircuitOpen` | yes: nothing ran |
//! | any other that is [retryable](crate::ToolError::is_retryable): `Timeout`, a failure of which the tool said so | yes, unless the call says [`with_idempotent(false)`](crate::ToolCall::with_idempotent) |
//! | another failure of the tool, a panic | only if the call says [`with_idempotent(true)`](crate::ToolCall::with_idempotent) |
//! | `Cancelled`, `InvalidArguments`, `UnknownTool`, `TooDeep` | never |
//!
//! An answer is never retried, also one that [is an error](crate::ToolOutput::is_error): the tool has decided. Nor is a streamed answer that
//! fails after its beginning was returned: its consumer has it. Errors of tower's own layers count as what they become in ours.
//!
//! There is another attempt while all of this holds: fewer than [so many](RetryPolicy::new) were made; the call is not cancelled; the backoff ends
//! before the call's [deadline](crate::CallContext::deadline), which is the nearest limit outside of the retry or the caller's own; the budget has one left.
//! Else the last attempt's error is returned as it is.
//!
//! The wait before an attempt is exponential with full jitter, as in Marc Brooker's [Exponential Backoff And Jitter] (AWS Architecture Blog, 2015), and
//! at least [`retry_after`](crate::ToolError::retry_after) where the error tells it.
//!
//! The budget is tower's [`TpsBudget`](tower::retry::budget::TpsBudget): a call that succeeds deposits, a retry withdraws, and so many a second are free.
//! By default 100 retries in 10 s, and one more for every five calls that succeeded in that time.
//!
//! [Exponential Backoff And Jitter]: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
//!
//! # Resuming
//! An attempt can leave word for the next one with [`checkpoint`](crate::CallContext::checkpoint), which reads it with
//! [`last_checkpoint`](crate::CallContext::last_checkpoint) and goes on from there instead of beginning anew. It needs no layer, and is bounded.
//!
//! ```
//! use std::time::Duration;
//! use serde_json::json;
//! use toolbooth::{CallContext, Content, RetryPolicy, TimeoutLayer, ToolCall, tool_fn};
//! use tower::retry::RetryLayer;
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let import = tool_fn("import", async |call: CallContext, _: ()| {
//!     let from = match call.last_checkpoint() {
//!         Some(Content::Json(done)) => done.as_u64().unwrap_or(0),
//!         _ => 0,
//!     };
//!     for item in from..100 {
//!         tokio::time::sleep(Duration::from_millis(10)).await; // its work
//!         call.checkpoint(json!(item + 1));
//!     }
//!     Ok::<_, std::io::Error>(format!("done at attempt {}", call.attempt()))
//! });
//! let import = ServiceBuilder::new()
//!     .layer(RetryLayer::new(RetryPolicy::new(5)))
//!     .layer(TimeoutLayer::new(Duration::from_millis(305))) // 30 items, and half of the next one
//!     .service(import);
//! let answer = import.oneshot(ToolCall::new("import", json!(null))).await?.collect().await?;
//! assert_eq!(answer.text(), "done at attempt 4");
//! # Ok(()) }
//! ```
//!
//! # Readiness
//! tower's `Retry` asks what is inside for readiness, and so do its callers. Our layers inside are always ready.
//!
//! # Cancellation
//! Dropping the future ends the call, in an attempt or between two: then nothing runs, and nothing inside of the retry is held.
//! A call that is [cancelled](crate::Canceller) between two attempts ends then as well: by our layer outside, or else by the one inside, which refuses the next attempt.
//!
//! # Errors
//! None of its own: the error of the last attempt, with the [partial result](crate::partial) of the last attempt that published any.
//!
//! # Clone
//! Clones, and services made of one policy, share the budget and the jitter's sequence. The attempts are counted for each call.
//!
//! # Order
//! What stands outside of the retry is for the call as a whole, what stands inside for each attempt: a timeout, a permit (outside, it is held
//! through the waits), a token, cleanup that runs between attempts. An `http::Request` gets its context from the outermost of our layers: with the
//! retry outside of them all, the first attempt is a call of its own, unless its sender [asked for the context](crate::ToolRequest::context) before.
//!
//! # Panics
//! A call that must wait does so on a tokio runtime with time enabled, and panics where there is none, as tokio's timers do.
//!
//! # Cost
//! A clone of the call for each attempt: one allocation, and one for the arguments, which all attempts share. With a budget, a lock and a reading of the clock for a success. A wait: its future, and a place to be told of a cancellation.

mod backoff;
mod policy;

pub use policy::RetryPolicy;
