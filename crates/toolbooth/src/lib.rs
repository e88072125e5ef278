//! tower middleware for tool calls: timeouts, concurrency limits, rate limits, cleanup, partial
//! results.
//!
//! A tool is a [`Service`](tower_service::Service), and each concern is a layer of its own. A layer
//! converts
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
//! which each layer accepts again. So the layers stack in any order, around one tool, a whole
//! toolbox or an HTTP service, with tower's own layers in between. The state of a call that several
//! layers need travels with the call, in its [`CallContext`].
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
//! let response = tool.clone().oneshot(short).await?.collect().await?;
//! assert_eq!(response.text(), "2 pages");
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
//! | Layer | What it guarantees | Default | Feature |
//! |---|---|---|---|
//! | [`TimeoutLayer`] | A call ends at its limit, waits and streaming response included. The limit is on the whole call, on the time without activity, or on the time until the first item. | A limit is required, for all tools, for each tool or for a call. | |
//! | [`ConcurrencyLimitLayer`] | At most n calls run at once: in all, for each tool or for each key. A call runs until its last byte is delivered. Other calls wait in an [`Order`]. | A limit is required; up to 1,024 calls wait. | |
//! | [`RateLimitLayer`] | At most n calls start within a time: in all, for each tool or for each key. | A quota is required; up to 1,024 calls wait. | `rate` (on) |
//! | [`CircuitBreakerLayer`] | A tool that keeps failing is not called for a while. | 5 failures in a row, 30 s, one probe. | |
//! | [`CleanupLayer`] | Each hook of a call runs once, however the call ends, and does not delay the caller. | 5 s for a hook, 64 hooks for an attempt. | |
//! | [`PartialResultLayer`] | An error that ends a call early carries what the tool has emitted or streamed. | 1,024 items and 1 MiB. | |
//! | [`CatchPanicLayer`] | A panic of the inner service becomes the error of its call. | No settings. | |
//! | [`SpawnLayer`] | Each call runs on a task of its own. A tool that blocks its thread delays neither its caller nor an outer limit. | Needs a multi-threaded runtime for that. | |
//! | [`IdempotencyLayer`] | Calls of a tool with the same key run once, and share the complete response. | 10 minutes, 10,000 keys, 64 MiB. Applies to calls that have a key. | `handler` (on) |
//! | [`ShutdownLayer`] | At a shutdown, new calls are rejected with a time to retry. After a grace, all other calls end, and what outlives them is awaited. | 5 s until a retry; grace and limit are arguments. | |
//! | [`EventsLayer`] | Each call has one first and one terminal event, however it ends, and between them what the layers and the tool report. | No sink, no events. | |
//! | [`RetryPolicy`], in tower's `RetryLayer` | A failed call is tried again if its tool had not started or it is idempotent, until its deadline, within one budget for all calls. | The number of attempts is required; no `retry_after` above 60 s; backoff of 100 ms, doubled up to 10 s; a budget of 100 retries in 10 s, plus one for every five calls that succeed. | `retry` (off) |
//!
//! [`Toolbox`] calls many tools by name (feature `toolbox`, on). `Policies` are the limits of its
//! tools as data, which change while calls run (feature `policy`, off).
//! The module [`model`] has the shapes of language models (feature `handler`, on): tools, calls,
//! and a result for every call.
//! [`tool_fn`] and [`stream_tool_fn`] convert functions into tools (feature `handler`, on).
//! `CommandTool` converts a program into a tool, which ends with its call (feature `process`, off,
//! on unix). `CallGroup` runs several calls under one deadline (feature `group`, off).
//! `SharedState` has typed values that tools share (feature `state`, off).
//! `events::MetricsSink` records metrics of calls with the facade `metrics` (feature `metrics`,
//! off).
//! The limits of several processes are one with a store of the module [`shared`], such as a Redis
//! server.
//! [`ServiceBuilderExt`] adds a method for each layer to `tower::ServiceBuilder`. The
//! feature `http` (off) implements the layers for services of `http::Request`. `full` enables all
//! features.
//!
//! # Order
//!
//! Recommended, outside to inside: shutdown, events, timeout of the call, retry, circuit breaker,
//! rate limit, concurrency limit, timeout of an attempt, cleanup, partial results, tool. Every
//! other order works as well, with another meaning: the [guide to the order](guide::order) has a
//! table of all pairs, both ways.
//!
//! # Cancel safety
//!
//! Dropping the future of a call, or its streaming response, ends the call. Permits and positions
//! in queues are released at once, hooks run, and the tool's future is dropped. A token is
//! spent if the call had started, and refunded otherwise. So a call can be used in a `select!`,
//! under any timeout, or on a task that is aborted. A [`Canceller`] ends a call from elsewhere:
//! then the call returns `Cancelled`.
//!
//! Two things outlive a call, and [`CleanupLayer::drain`] and [`ShutdownLayer::shutdown`] wait for
//! both:
//!
//! - Cleanup hooks.
//! - Work that blocks its thread, if it was started with
//!   [`spawn_blocking`](CallContext::spawn_blocking). It keeps the permits of the call.
//!
//! Tasks started with [`spawn`](CallContext::spawn) and calls made with
//! [`child`](CallContext::child) end with the call. Tasks of tokio's own `spawn` do not. A tool
//! that blocks its thread ends when it yields to the runtime, not before. The [guide to
//! cleanup](cleanup::guide) lists what cleanup can and cannot do.
//!
//! # What clones share
//!
//! Clones of a layer value, and all services made of it, share one limit, one queue and one count.
//! A new value is a new limit. The layer value is also the handle to read its state:
//! [`ConcurrencyLimitLayer::in_flight`], [`RateLimitLayer::remaining`], [`CleanupLayer::report`]. A
//! clone of a [`ToolCall`] is another attempt of the same call.
//!
//! The [guide to thread-safety](guide::safety) has a row for each public type.
//!
//! # Testing
//!
//! The crate `toolbooth-test` has mock tools, scripted tools, fault injection, probes, recorders,
//! assertions and paused-clock helpers, all in its root. Its documentation is a guide to testing a
//! stack. On a paused clock a test of a timeout takes no time, and is exact to the millisecond.
//!
//! # Guides
//!
//! The module [`guide`] has pages on [concurrent calls](guide::concurrency), the [order of
//! layers](guide::order), [thread-safety and cancel-safety](guide::safety), and [running in
//! production](guide::production).
//!
//! # Layers of your own
//!
//! The module [`middleware`] has what an author of a layer needs, and a [guide](middleware::guide)
//! whose example is an audit layer.
//!
//! # Requirements
//!
//! A tokio runtime with time enabled. Without one, a call that must wait panics, as tokio's timers
//! do. Rust 1.85 or newer.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc(test(attr(deny(warnings))))]

pub mod breaker;
mod builder;
pub mod catch_panic;
pub mod cleanup;
pub mod concurrency;
pub mod events;
#[cfg(feature = "group")]
pub mod group;
pub mod guide;
#[cfg(feature = "handler")]
pub mod handler;
#[cfg(feature = "handler")]
pub mod idempotency;
pub mod middleware;
#[cfg(feature = "handler")]
pub mod model;
pub mod partial;
#[cfg(feature = "policy")]
pub mod policy;
#[cfg(all(feature = "process", unix))]
pub mod process;
mod queue;
#[cfg(feature = "rate")]
pub mod rate;
#[cfg(feature = "retry")]
pub mod retry;
pub mod shared;
pub mod shutdown;
pub mod spawn;
#[cfg(feature = "state")]
pub mod state;
pub mod timeout;
#[cfg(feature = "toolbox")]
pub mod toolbox;

pub use breaker::{BreakerPolicy, CircuitBreakerLayer};
pub use builder::ServiceBuilderExt;
pub use catch_panic::CatchPanicLayer;
pub use cleanup::{CleanupLayer, DrainReport};
pub use concurrency::ConcurrencyLimitLayer;
#[cfg(feature = "metrics")]
pub use events::MetricsSink;
pub use events::{Event, EventKind, EventSink, EventsLayer, LimitChange, TracingSink};
#[cfg(feature = "group")]
pub use group::{CallGroup, GroupError};
#[cfg(feature = "handler")]
pub use handler::{stream_tool_fn, tool_fn};
#[cfg(feature = "handler")]
pub use idempotency::IdempotencyLayer;
pub use middleware::{ConfigError, PerTool};
pub use partial::PartialResultLayer;
#[cfg(feature = "policy")]
pub use policy::{Policies, PolicyChange, PolicyError, ToolPolicy};
#[cfg(all(feature = "process", unix))]
pub use process::{CommandError, CommandOutput, CommandStderr, CommandTool};
pub use queue::Order;
#[cfg(feature = "rate")]
pub use rate::{Quota, RateLimitLayer};
#[cfg(feature = "retry")]
pub use retry::{RetryBudget, RetryPolicy};
pub use shutdown::ShutdownLayer;
pub use spawn::SpawnLayer;
#[cfg(feature = "state")]
pub use state::{SharedState, StateError, StateLayer};
pub use timeout::TimeoutLayer;
pub use toolbooth_core::{
    BoxError, CallContext, CancelReason, Canceller, Checkpointed, CleanupEnd, Collected, Content,
    ContentStream, DEFAULT_MAX_DEPTH, DenyReason, End, ErrorKind, ErrorReport, IntoToolOutput,
    Item, KeptPermits, MAX_CHECKPOINT, MAX_HOOKS, MAX_JSON_DEPTH, MAX_NAME, Message, Name, Origin,
    Outcome, OverloadReason, Partial, Progress, Registered, ResponseHead, Source, TimeoutScope,
    ToolCall, ToolError, ToolOutput, ToolRequest, ToolResponse, Update, UpdateKind, Updates, Watch,
    checked, whole_response,
};
#[cfg(feature = "http")]
pub use toolbooth_core::{
    CallDeadline, CallPriority, CallTenant, RequestHead, ToolName, WatchedBody,
};
pub use toolbooth_core::{CancelFlag, MAX_SPAWNED, Spawned, TooManySpawned};
#[cfg(feature = "toolbox")]
pub use toolbox::{ToolAnnotations, ToolSpec, Toolbox};

/// Runs the README's examples as tests.
#[cfg(all(doctest, feature = "full", unix))]
#[doc = include_str!("../../../README.md")]
struct Readme;
