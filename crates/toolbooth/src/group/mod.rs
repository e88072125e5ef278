//! Runs several calls under one deadline: waits for all, for the first that succeeds, or for a
//! quorum, and cancels the others.
//!
//! Use it where one request makes several calls, such as an agent that asks five sources and
//! replies with what has come by the deadline. To limit calls that do not belong together, use
//! [`TimeoutLayer`](crate::TimeoutLayer) and
//! [`ConcurrencyLimitLayer`](crate::ConcurrencyLimitLayer) in the stack.
//!
//! ```
//! use std::time::Duration;
//! use serde_json::json;
//! use toolbooth::{CallGroup, Content, ErrorKind, ToolCall, tool_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let search = tool_fn("search", async |call: toolbooth::CallContext, seconds: u64| {
//!     call.emit("a first match");
//!     tokio::time::sleep(Duration::from_secs(seconds)).await;
//!     Ok::<_, std::io::Error>("all matches")
//! });
//! let calls = [1, 60].map(|seconds: u64| ToolCall::new("search", json!(seconds)));
//!
//! let group = CallGroup::new().with_timeout(Duration::from_secs(3));
//! let outcomes = group.all(search, calls).await; // after 3 s
//!
//! let first = outcomes[0].as_ref().map_err(Clone::clone)?;
//! assert_eq!(first.text(), "all matches");
//! let late = outcomes[1].as_ref().err().ok_or("it takes a minute")?;
//! assert_eq!(late.kind(), ErrorKind::Timeout);
//! let partial = late.partial().ok_or("a match was emitted")?;
//! assert_eq!(partial.contents(), [Content::from("a first match")]);
//! # Ok(()) }
//! ```
//!
//! A group wraps any service of [`ToolOutput`](crate::ToolOutput)s: a tool, a stack of layers, a
//! toolbox. It collects streaming responses, and keeps partial results, without further layers. Its
//! calls are polled by its own future, on the task of the caller: no task is spawned. To use
//! several threads, put a [`SpawnLayer`](crate::SpawnLayer) into the stack.
//!
//! | method | returns when |
//! |---|---|
//! | [`all`](CallGroup::all) | every call has ended |
//! | [`first_ok`](CallGroup::first_ok) | one call has succeeded, or all have failed |
//! | [`quorum`](CallGroup::quorum) | k calls have succeeded, or too many have failed |
//! | [`outcomes`](CallGroup::outcomes) | at once, with a stream of the outcomes as they come |
//!
//! A call succeeds if it returns a response that does not [report an
//! error](crate::Collected::is_error).
//!
//! # Groups in a tool
//! A tool makes the calls of a group with [`CallContext::child`](crate::CallContext::child). Then
//! none of them outlives the call of the tool, and none runs beyond its deadline: a nested group
//! returns by the deadline of the outer one, whatever its own timeout is.
//!
//! # Deadline
//! At the deadline, a call that runs is cancelled with the reason `Timeout`, and its future is
//! dropped. A response that is ready by then counts. Limits of the stack hold as well. A call that
//! has not started by the deadline is not started.
//!
//! # Cancellation
//! Dropping the future or the stream of a group ends all of its calls at once: permits are
//! released, hooks run, futures are dropped. Calls that the group itself cancels, since enough have
//! succeeded or one has failed, end with the reason `Explicit`.
//!
//! Cleanup hooks run as in any other call, and do not delay the group. To limit how many run at
//! once, use
//! [`with_hold_until_ended`](crate::ConcurrencyLimitLayer::with_hold_until_ended) on a concurrency
//! limit in the stack.
//!
//! # Errors
//! The outcome of each call is its response or its own [`ToolError`](crate::ToolError), with its
//! partial result. At the deadline that is `Timeout` with the scope `Deadline`. Of a call that
//! was never started, [`started`](crate::ToolError::started) is false. [`GroupError`] reports a
//! quorum that was not reached.
//!
//! # Panics
//! A panic of a tool unwinds through the group and drops its other calls. A
//! [`CatchPanicLayer`](crate::CatchPanicLayer) in the stack turns it into the error of its call.

mod call;
mod error;
mod outcomes;
mod settings;

pub use error::GroupError;
pub use outcomes::Outcomes;
pub use settings::CallGroup;
