//! Rejects the calls of a tool for a while after it has failed repeatedly.
//!
//! Use it around a dependency that may be down: an API, a database, another service. During an
//! outage calls fail at once instead of waiting for a timeout, and the dependency receives no load.
//! For a tool that is merely busy, use a [limit](crate::concurrency).
//!
//! ```
//! use std::time::Duration;
//! use serde_json::json;
//! use toolbooth::breaker::BreakerState;
//! use toolbooth::{CircuitBreakerLayer, ErrorKind, ToolCall, tool_fn};
//! use tower::{Layer, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let breaker = CircuitBreakerLayer::new(); // 5 failures in a row, 30 s
//! let tool = breaker.layer(tool_fn("api", async |_: ()| {
//!     Err::<String, _>(std::io::Error::other("503"))
//! }));
//! let call = || tool.clone().oneshot(ToolCall::new("api", json!(null)));
//! for _ in 0..5 {
//!     assert_eq!(call().await.err().map(|error| error.kind()), Some(ErrorKind::Tool));
//! }
//! let rejection = call().await.err();
//! assert_eq!(rejection.and_then(|error| error.retry_after()), Some(Duration::from_secs(30)));
//! assert_eq!(breaker.state(), BreakerState::Open);
//! # }
//! ```
//!
//! By default there is one breaker for all calls. [`per_tool`](CircuitBreakerLayer::per_tool) makes
//! one for each tool, [`by`](CircuitBreakerLayer::by) one for each key, such as a host.
//!
//! A closed breaker admits calls and counts their results. An open breaker rejects calls. After the
//! open time it is half-open: it admits one call at a time as a probe, or
//! [several](BreakerPolicy::with_probes), whose results close or open it. The first item of a
//! streaming response is a success of its probe, since the stream may be endless. The
//! [`BreakerPolicy`] sets which failures open it, and for how long. The result of a call that was
//! admitted before a change of the state is ignored.
//!
//! # What counts
//! A breaker counts outages. A response is evidence that the tool works, also one that reports an
//! error.
//!
//! | result of a call | counts as |
//! |---|---|
//! | a response, delivered to its last byte; also one that [is an error](crate::ToolOutput::is_error) | a success |
//! | an error of the tool | a failure |
//! | an error by which the tool [reports that it failed](crate::ToolError::with_outage), such as the exit code of a program whose lines are streamed | a success |
//! | an HTTP status of 500 to 599, or 408; a gRPC code of 2, 4, 13, 14 or 15 in the head or in the trailers | a failure, whether or not the body is read |
//! | any other HTTP status | a success, whether or not the body is read |
//! | a timeout of an inner or outer timeout layer | a failure; nothing, if inner layers held the latest attempt back |
//! | a panic | a failure; [configurable](BreakerPolicy::with_panics) |
//! | dropped or cancelled after the first item of a streaming response | a success |
//! | dropped or cancelled before that | nothing; [configurable](BreakerPolicy::with_drops) for drops |
//! | a rejection by an inner layer, also of a later attempt | nothing |
//! | invalid arguments, or a rejection such as `rate_limited`, returned by the tool itself | nothing; see [Cool-down](#cool-down) |
//!
//! A [predicate](BreakerPolicy::with_failures) decides otherwise on any response, and on any error
//! of the tool itself. [`Failures`] has presets for HTTP and for gRPC. A probe whose result counts
//! as nothing is replaced by the next call.
//!
//! The head of a gRPC response without a code counts as nothing. Its trailers decide, or its first
//! frame if the response is dropped before them.
//!
//! # Cool-down
//! With [`with_cool_down`](BreakerPolicy::with_cool_down) a tool that rejects a call for a time,
//! such as an HTTP service by a 429 with `Retry-After`, opens the breaker for that time. So other
//! calls do not run into the same rejection.
//!
//! ```
//! use std::time::Duration;
//! use toolbooth::breaker::BreakerState;
//! use toolbooth::{BreakerPolicy, CircuitBreakerLayer, ToolCall, ToolError, tool_fn};
//! use tower::{Layer, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let policy = BreakerPolicy::new().with_cool_down(Duration::from_secs(60));
//! let breaker = CircuitBreakerLayer::with_policy(policy);
//! let tool = breaker.layer(tool_fn("api", async |_: ()| {
//!     Err::<String, _>(ToolError::rate_limited(Duration::from_secs(7)))
//! }));
//! # let call = || tool.clone().oneshot(ToolCall::new("api", serde_json::json!(null)));
//! assert!(call().await.is_err());
//! assert_eq!(breaker.state(), BreakerState::Open);
//! let rejection = call().await.err();
//! assert_eq!(rejection.and_then(|error| error.retry_after()), Some(Duration::from_secs(7)));
//! # }
//! ```
//!
//! # Nested calls
//! A breaker counts an attempt once: one layer value may wrap a toolbox and its tools. Later
//! attempts of an inner retry, and calls that the tool makes with
//! [`child`](crate::CallContext::child), count on their own while the breaker is closed. While it
//! is half-open, everything inside of a probe passes and is not counted: the probe decides.
//!
//! # Readiness
//! Always ready: an outer `LoadShed`, `Balance` or `ready()` does not observe an open breaker. A
//! call is admitted or rejected in `call` without a wait. The readiness of the inner service is
//! awaited within the call's future.
//!
//! # Cancellation
//! Dropping the future ends the call. A dropped probe is replaced by the next call.
//!
//! # Errors
//! - `CircuitOpen`, with the time until a call is admitted; without a time while probes run.
//! - `Overloaded` for a new key while the table of keys [is
//!   full](CircuitBreakerLayer::with_key_bounds).
//! - `InvalidArguments` for a key that is too long.
//! - `Timeout` for a call that arrives at or after its deadline. It is not used as a probe.
//!
//! # Events
//! `CircuitBreakerLayer::with_events` delivers each change of the state, with the reason: open by
//! failures, half-open by the first call after the open time, closed, open again, or by hand. To
//! the events layer of a call, a breaker reports nothing but the rejection.
//!
//! # Clone
//! Clones of the layer, and services made of one layer value, share one breaker. A new value is a
//! new breaker.
//!
//! # Order
//! Timeouts count on either side. Outside of a limit, the breaker rejects a call before it takes a
//! token or a permit. Inside, a call may be queued and then rejected. Outside of a retry, the
//! breaker counts calls; inside, attempts.
//!
//! # Cost
//! No allocation. A call locks its breaker twice, when it is admitted and when it ends. A window of
//! calls stores a bit for each call; a window of time stores ten counts.

mod change;
mod counting;
mod future;
mod keyed;
mod layer;
mod listeners;
#[cfg(test)]
mod model;
#[cfg(all(test, shuttle))]
mod models;
mod policy;
#[cfg(test)]
mod reference;
mod result;
mod rule;
mod service;
mod shared;
mod window;

pub use change::BreakerState;
pub use future::{ResponseFuture, ResponseWatch};
pub use layer::CircuitBreakerLayer;
pub use listeners::StateChange;
pub use policy::{BreakerPolicy, Over};
pub use result::{CallResult, Failures};
pub use service::CircuitBreaker;
