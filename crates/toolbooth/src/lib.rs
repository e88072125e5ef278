//! tower middleware for tool calls: time limits, concurrency and rate limits, cleanup, partial results.
//!
//! A tool is a [`Service`](tower_service::Service), and each concern is a layer of its own. A layer turns
//!
//! ```text
//! Service<R, Response: ToolResponse, Error: Into<BoxError> + 'static>     where R: ToolRequest
//! ```
//!
//! into
//!
//! ```text
//! Service<R, Response: ToolResponse, Error = ToolError>
//! ```
//!
//! which is what a layer takes. So the layers stack in any order, around one tool, a whole toolbox or an HTTP service, with
//! tower's own layers in between. What one layer must know of a call that another layer did travels with the call, in its
//! [`CallContext`].
//!
//! ```
//! use std::num::NonZeroU32;
//! use std::time::Duration;
//!
//! use serde::Deserialize;
//! use serde_json::json;
//! use toolbooth::{
//!     BoxError, CallContext, CleanupLayer, ConcurrencyLimitLayer, ErrorKind, PartialResultLayer,
//!     Quota, RateLimitLayer, TimeoutLayer, ToolCall, tool_fn,
//! };
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! #[derive(Deserialize)]
//! struct Crawl {
//!     pages: u32,
//! }
//!
//! async fn crawl(call: CallContext, args: Crawl) -> Result<String, BoxError> {
//!     call.on_cleanup(|_outcome| async { /* close the session */ });
//!     for page in 1..=args.pages {
//!         call.emit(format!("page {page}"));
//!         tokio::time::sleep(Duration::from_millis(400)).await;
//!     }
//!     Ok(format!("{} pages", args.pages))
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), BoxError> {
//! let ten = NonZeroU32::new(10).ok_or("10 is not 0")?;
//! let cleanup = CleanupLayer::new();
//! let tool = ServiceBuilder::new() // the first layer is the outermost
//!     .layer(TimeoutLayer::new(Duration::from_secs(1)))
//!     .layer(RateLimitLayer::new(Quota::per_second(ten)))
//!     .layer(ConcurrencyLimitLayer::new(4))
//!     .layer(cleanup.clone())
//!     .layer(PartialResultLayer::new())
//!     .service(tool_fn("crawl", crawl));
//!
//! let short = ToolCall::new("crawl", json!({ "pages": 2 }));
//! let answer = tool.clone().oneshot(short).await?.collect().await?;
//! assert_eq!(answer.text(), "2 pages");
//!
//! let long = ToolCall::new("crawl", json!({ "pages": 1_000 }));
//! let error = tool.oneshot(long).await.err().ok_or("1,000 pages take longer")?;
//! assert_eq!(error.kind(), ErrorKind::Timeout);
//! let partial = error.partial().ok_or("pages were emitted")?;
//! assert_eq!(partial.contents(), ["page 1".into(), "page 2".into(), "page 3".into()]);
//!
//! let report = cleanup.drain(Duration::from_secs(1)).await;
//! assert_eq!((report.ran, report.failed, report.abandoned), (2, 0, 0));
//! # Ok(()) }
//! ```
//!
//! # Layers
//!
//! | Layer | What it guarantees | Feature | Default |
//! |---|---|---|---|
//! | [`TimeoutLayer`] | A call is over when its limit is, waits and streamed answer included; the limit is on the whole, on the time without a sign of life, or until the first item | `timeout` | on; limits are given, for all tools, by tool or by call |
//! | [`ConcurrencyLimitLayer`] | No more than so many calls run at once, in all, by tool or by key, each until its last byte is delivered; the others wait in an [`Order`] | `concurrency` | on; 1,024 calls may wait |
//! | [`RateLimitLayer`] | No more than so many calls start in a time, in all, by tool or by key | `rate` | on; calls wait, 1,024 of them at most |
//! | [`CircuitBreakerLayer`] | A tool that fails is not called for a while | `breaker` | on; 5 failures in a row, 30 s, one probe |
//! | [`CleanupLayer`] | Hooks run once, however the call ends, and nobody waits for them | `cleanup` | on; 5 s for a hook, 64 hooks |
//! | [`PartialResultLayer`] | What was produced is in the error that cuts the call short | `partial` | on; 1,024 items and 1 MiB |
//! | [`CatchPanicLayer`] | A panic of the tool is the error of its call, and goes no further | `catch-panic` | on |
//! | [`SpawnLayer`] | Each call runs on a task of its own, so that a tool that blocks its thread holds up neither its caller nor a limit outside | `spawn` | on; needs a runtime of more than one thread for that |
//! | [`RetryPolicy`], in tower's `RetryLayer` | A call that failed is made again where that may help, until its deadline, within one budget for all calls | `retry` | off; waits of 100 ms doubled up to 10 s, 100 retries in 10 s and one for every five calls that succeed |
//!
//! [`tool_fn`] and [`stream_tool_fn`] make tools of functions: feature `handler`, on. `CommandTool` makes a tool of any program, which ends with
//! its call: feature `process`, off, on unix. [`ServiceBuilderExt`] gives `tower::ServiceBuilder`
//! a method for each layer: feature `builder`, on. The feature `http` puts the same layers around
//! services of `http::Request`: off. `full` is everything.
//!
//! # Order
//!
//! Recommended, outside to inside: timeout, circuit breaker, rate limit, concurrency limit, cleanup, partial results, tool. Every other order works, too, and means something else:
//!
//! | A | B | A outside B | B outside A |
//! |---|---|---|---|
//! | timeout | rate limit | the wait for a token counts, and one that would be too long is refused at once | the limit begins with the token |
//! | timeout | concurrency limit | the wait for a permit counts | the limit begins with the permit |
//! | timeout | cleanup | waiting for hooks ([`with_wait`](CleanupLayer::with_wait)) uses up the limit; a call that was cut waits for none | the limit is for the tool alone; a call that was cut waits for its hooks, too |
//! | rate limit | concurrency limit | who waits for a token holds no permit; a token is spent on a call that then finds no permit in time | a permit is held while waiting for a token |
//! | rate limit, concurrency limit | cleanup | a call that is refused or cut in line does not reach the cleanup layer: hooks that its caller registered run uncounted | the cleanup layer runs the hooks of every call |
//! | breaker | timeout | a timeout is a failure, unless the call only waited in a line further in | the same |
//! | breaker | rate limit, concurrency limit | while it is open, no token and no permit is taken | a call may wait in line only to be refused; its token is spent |
//! | partial results | any of them | no difference | no difference |
//! | catch panics | any of them | their part of the call ends in a panic that passes | they see an error |
//! | spawn | timeout | the limit runs on the tool's task: a tool that blocks its thread is cut when it yields | the limit strikes on time, whatever the tool does |
//! | spawn | concurrency limit | a call that is cut while its tool blocks gives its permit back when the tool yields | the permit is back at once, although the tool may still block |
//!
//! With a retry, what stands outside of it is for the call as a whole, what stands inside for each attempt:
//!
//! | A | A outside the retry | the retry outside A |
//! |---|---|---|
//! | timeout | it bounds all attempts and the waits between them, and no attempt is begun that would be too late | it bounds each attempt; the whole may take as many times as long, and the waits |
//! | rate limit | one token for the call | a token for each attempt; a refusal is tried again when there is a token |
//! | concurrency limit | the permit is held through the waits | a permit for each attempt: while it waits the call holds none, and waits in line again |
//! | cleanup | hooks of all attempts run at the end of the call, and are told its outcome | hooks of an attempt run when it ends, with [`with_wait`](CleanupLayer::with_wait) before the next one |
//! | circuit breaker | it counts calls: one that succeeds in its third attempt is a success | it counts attempts, and may open in the middle of a call; its refusal is tried again when it would let a probe through |
//! | catch panic, spawn | a panic ends the call, in whichever attempt it is | a panic is that attempt's error, and made again if the call is idempotent |
//! | partial results | no difference | no difference |
//!
//! # Cancel safety
//!
//! Dropping a call's future, or its streamed answer, ends the call: permits and places in line are given back at once, hooks run, what the tool's future owns
//! is dropped. So does a [`Canceller`], from wherever it is held: then the call ends with `Cancelled`. A token that was taken is spent. So a call may stand in a `select!`, under anybody's timeout, or on a task that is aborted. Two things
//! outlive it: cleanup hooks, which [`CleanupLayer::drain`] waits for, and work that blocks its thread, which keeps the call's permits and which `drain` waits for as well where it was
//! started with [`spawn_blocking`](CallContext::spawn_blocking). Tasks started with [`spawn`](CallContext::spawn) and calls made with [`child`](CallContext::child) end with the call; what a tool starts with
//! tokio's own `spawn` does not. What cleanup can and cannot do is in the [guide to cleanup](cleanup::guide). A tool that blocks its thread is cut when it next returns to the runtime, not before.
//!
//! # What clones share
//!
//! A clone of a layer value, and every service that one value was applied to, share one limit, one line, one count. A new value is a new limit. The
//! layer value is also the handle by which it is read: [`ConcurrencyLimitLayer::in_flight`], [`RateLimitLayer::remaining`], [`CleanupLayer::report`].
//! A clone of a [`ToolCall`] is another attempt of the same call.
//!
//! # Requirements
//!
//! A tokio runtime with time enabled: where there is none, a call that must wait panics, as tokio's timers do. Rust 1.85.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc(test(attr(deny(warnings))))]

pub mod breaker;
pub mod catch_panic;
pub mod cleanup;
pub mod concurrency;
#[cfg(feature = "handler")]
pub mod handler;
pub mod middleware;
pub mod partial;
#[cfg(all(feature = "process", unix))]
pub mod process;
mod queue;
#[cfg(feature = "rate")]
pub mod rate;
#[cfg(feature = "retry")]
pub mod retry;
pub mod spawn;
pub mod timeout;

pub use breaker::{BreakerPolicy, CircuitBreakerLayer};
pub use catch_panic::CatchPanicLayer;
pub use cleanup::{CleanupLayer, DrainReport};
pub use concurrency::ConcurrencyLimitLayer;
#[cfg(feature = "handler")]
pub use handler::{stream_tool_fn, tool_fn};
pub use middleware::ServiceBuilderExt;
pub use middleware::{ConfigError, PerTool};
pub use partial::PartialResultLayer;
#[cfg(all(feature = "process", unix))]
pub use process::{CommandError, CommandOutput, CommandTool};
pub use queue::Order;
#[cfg(feature = "rate")]
pub use rate::{Quota, RateLimitLayer};
#[cfg(feature = "retry")]
pub use retry::RetryPolicy;
pub use spawn::SpawnLayer;
pub use timeout::TimeoutLayer;
pub use toolbooth_core::{
    BoxError, CallContext, CancelReason, Canceller, Checkpointed, CleanupEnd, Collected, Content,
    ContentStream, DEFAULT_MAX_DEPTH, End, ErrorKind, IntoToolOutput, Item, MAX_CHECKPOINT,
    MAX_HOOKS, Message, Name, Origin, Outcome, OverloadReason, Partial, Progress, Registered,
    ResponseHead, Source, TimeoutScope, ToolCall, ToolError, ToolOutput, ToolRequest, ToolResponse,
    Watch, checked, whole_response,
};
#[cfg(feature = "http")]
pub use toolbooth_core::{CallDeadline, ToolName, WatchedBody};
pub use toolbooth_core::{CancelFlag, MAX_SPAWNED, Spawned, TooManySpawned};

/// Runs the README's examples as tests.
#[cfg(all(doctest, feature = "full"))]
#[doc = include_str!("../../../README.md")]
struct Readme;
