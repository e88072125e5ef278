//! Retries calls that failed: a policy for tower's [`RetryLayer`](tower::retry::RetryLayer).
//!
//! Use it for tools with transient failures. A budget bounds the number of retries while a tool is
//! broken.
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
//!         std::future::pending::<()>().await; // hangs
//!     }
//!     Ok::<_, std::io::Error>(format!("at attempt {}", call.attempt()))
//! });
//! let fetch = ServiceBuilder::new()
//!     .layer(TimeoutLayer::new(Duration::from_secs(60))) // of all attempts together
//!     .layer(RetryLayer::new(RetryPolicy::new(5).with_idempotent(true)))
//!     .layer(TimeoutLayer::new(Duration::from_secs(2))) // of each attempt
//!     .service(fetch);
//!
//! let response = fetch.oneshot(ToolCall::new("fetch", json!(null))).await?.collect().await?;
//! assert_eq!(response.text(), "at attempt 3");
//! # Ok(()) }
//! ```
//!
//! # What is retried
//!
//! What is known to be safe: an attempt whose tool had not [started](crate::ToolError::started),
//! and a call that is idempotent. The last three columns are for calls that are not known to be
//! idempotent, that are, and that are not.
//!
//! | failure | started | not known | idempotent | not idempotent |
//! |---|---|---|---|---|
//! | `Timeout` of a call that only waited | no | yes | yes | yes |
//! | `RateLimited` by a layer | no | yes | yes | yes |
//! | `Overloaded` by a layer | no | yes | yes | yes |
//! | `CircuitOpen` by a layer | no | yes | yes | yes |
//! | `Overloaded` by a limit of 0, for a cost above the limit, or by a shutdown | no | no | no | no |
//! | `Cancelled`, `InvalidArguments`, `UnknownTool`, `Denied`, `TooDeep` | either | no | no | no |
//! | `RateLimited`, `Overloaded`, `CircuitOpen` by the tool or another crate's layer | yes | yes | yes | no |
//! | `Tool`, which the tool marked as retryable | yes | yes | yes | no |
//! | `Tool` | yes | no | yes | no |
//! | `Timeout` of a call that had started | yes | no | yes | no |
//! | `Panicked` | yes | no | yes | no |
//! | a response that [`with_responses`](RetryPolicy::with_responses) selects | yes | no | yes | no |
//!
//! Whether a call is idempotent is the first of these that is set:
//!
//! 1. [`ToolCall::with_idempotent`](crate::ToolCall::with_idempotent);
//! 2. [`RetryPolicy::with_idempotent`] for the tool;
//! 3. [`RetryPolicy::with_idempotent`] for all tools;
//! 4. the annotations of the tool in a [toolbox](crate::toolbox);
//! 5. for an `http::Request`, its method: GET, HEAD, OPTIONS, TRACE, PUT and DELETE are idempotent,
//!    and so is a request with the header `Idempotency-Key`. Nothing is known of other requests.
//!
//! Another response is never retried, not even one that [is an error](crate::ToolOutput::is_error).
//! A streaming response that fails later is not retried either: its consumer already has the first
//! items. An error that no layer of toolbooth has received, since the retry is directly around the
//! tool, counts as the tool's.
//!
//! There is another attempt while all of these conditions hold:
//!
//! - Fewer attempts were made than [`RetryPolicy::new`] allows.
//! - The call is not cancelled.
//! - The [`retry_after`](crate::ToolError::retry_after) of the error is not longer than the
//!   [maximum](RetryPolicy::with_max_retry_after), 60 s by default. All waits of a call for an open
//!   circuit are not longer together.
//! - The wait ends before the [deadline](crate::CallContext::deadline) of the call. That is the
//!   deadline set by the caller, or the limit of a timeout layer outside of the retry, whichever is
//!   earlier.
//! - The budget allows a retry.
//!
//! The wait before an attempt is the `retry_after` of the error, if set, and a backoff on top. The
//! backoff is exponential with full jitter, as in Marc Brooker's
//! [Exponential Backoff And Jitter] (AWS Architecture Blog, 2015).
//!
//! The budget is a [`RetryBudget`]. A call that succeeds deposits, a retry withdraws, and a number
//! of retries per second is always allowed. By default it allows 100 retries in 10 s, and one more
//! for every five calls that succeeded in that time.
//!
//! [Exponential Backoff And Jitter]: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
//!
//! # Resuming
//! An attempt stores a [`checkpoint`](crate::CallContext::checkpoint) for the next one, which reads
//! it with [`last_checkpoint`](crate::CallContext::last_checkpoint) and resumes there. It needs no
//! layer, and is bounded.
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
//!         tokio::time::sleep(Duration::from_millis(10)).await; // work
//!         call.checkpoint(json!(item + 1));
//!     }
//!     Ok::<_, std::io::Error>(format!("done at attempt {}", call.attempt()))
//! });
//! let import = ServiceBuilder::new()
//!     .layer(RetryLayer::new(RetryPolicy::new(5).with_idempotent(true)))
//!     .layer(TimeoutLayer::new(Duration::from_millis(305))) // 30 items and half of the next
//!     .service(import);
//! let response = import.oneshot(ToolCall::new("import", json!(null))).await?.collect().await?;
//! assert_eq!(response.text(), "done at attempt 4");
//! # Ok(()) }
//! ```
//!
//! # Readiness
//! tower's `Retry` is ready when the inner service is ready. The inner layers of toolbooth are
//! always ready.
//!
//! # Cancellation
//! Dropping the future ends the call, within an attempt or between two. Between two attempts
//! nothing runs, and the inner layers hold no resources. A call that is
//! [cancelled](crate::Canceller) between two attempts ends at once if there is an outer layer of
//! toolbooth. Otherwise the inner layer rejects the next attempt.
//!
//! # Errors
//! None of its own. It returns the error of the last attempt, with the
//! [partial result](crate::partial) of the last attempt that published one. Its
//! [`started`](crate::ToolError::started) is true if any attempt had called the tool. If the last
//! attempt had not, the [source](std::error::Error::source) of the error is the error of the last
//! one that had: a rejection by an open circuit has the failure of the tool as its source.
//!
//! # Events
//! Each retry is reported as [`Retry`](crate::EventKind::Retry) when it is decided, with its wait,
//! to the events layers outside of the `RetryLayer`. One inside has a terminal event for each
//! attempt.
//!
//! # Clone
//! Clones, and services made of one policy, share the budget and the sequence of the jitter. The
//! attempts are counted for each call.
//!
//! # Order
//! Layers outside of the retry apply to the call as a whole, layers inside to each attempt: a
//! timeout, a permit (outside, it is held during the waits), a token, cleanup (inside, it runs
//! between attempts).
//! An `http::Request` receives its context from the outermost layer of toolbooth. With the retry
//! outside of all of them, the first attempt is a call of its own, unless its sender has called
//! [`ToolRequest::context`](crate::ToolRequest::context) before.
//!
//! # Panics
//! A wait needs a tokio runtime with time enabled, and panics without one, as tokio's timers do.
//!
//! # Cost
//! A clone of the call for each attempt: one allocation, and one for the arguments, which all
//! attempts share. With a budget, a lock and a clock reading for each success. With a predicate for
//! responses, its call for each. For a wait, its
//! future and its registration for cancellation.

mod backoff;
mod budget;
mod failure;
mod policy;
mod waiting;

pub use budget::RetryBudget;
pub use policy::RetryPolicy;
