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
//! [several](BreakerPolicy::with_probes), whose results close or open it. The [`BreakerPolicy`]
//! sets which failures open it, and for how long. The result of a call that was admitted before a
//! change of the state is ignored.
//!
//! # What counts
//! | result of a call | counts as |
//! |---|---|
//! | a response, delivered to its last byte | a success |
//! | an error of the tool, a response that [is an error](crate::ToolOutput::is_error), an HTTP status of 500 or above | a failure; configurable by a [predicate](BreakerPolicy::with_failures) |
//! | a timeout of an inner or outer timeout layer | a failure; nothing, if all attempts of the call were still queued in inner layers |
//! | a panic | a failure; [configurable](BreakerPolicy::with_panics) |
//! | dropped by the caller, cancelled | nothing; [configurable](BreakerPolicy::with_drops) for drops |
//! | a rejection by an inner layer, invalid arguments | nothing |
//!
//! A probe whose result counts as nothing is replaced by the next call.
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

mod counting;
mod future;
mod keyed;
mod layer;
#[cfg(test)]
mod model;
#[cfg(all(test, shuttle))]
mod models;
mod policy;
mod rule;
mod service;
mod shared;
mod window;

pub use counting::Failure;
pub use future::{ResponseFuture, ResponseWatch};
pub use layer::CircuitBreakerLayer;
pub use policy::{BreakerPolicy, Over};
pub use rule::BreakerState;
pub use service::CircuitBreaker;
pub use shared::StateChange;
