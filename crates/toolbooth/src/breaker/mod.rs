//! A tool that fails is left alone for a while.
//!
//! Use it around what may be down: an API, a database, another service. While it is, a call fails at once instead of waiting for
//! a timeout, and the tool is not hit by calls that it cannot take. For a tool that is merely busy, use a [limit](crate::concurrency).
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
//! let refused = call().await.err();
//! assert_eq!(refused.and_then(|error| error.retry_after()), Some(Duration::from_secs(30)));
//! assert_eq!(breaker.state(), BreakerState::Open);
//! # }
//! ```
//!
//! One breaker is for all calls; [`per_tool`](CircuitBreakerLayer::per_tool) makes one for each tool, [`by`](CircuitBreakerLayer::by) one for each
//! key, such as the host that is asked.
//!
//! Closed, calls go through and are counted; open, they are refused; after the open time it is half-open: one call at a time, or
//! [as many as it probes with](BreakerPolicy::with_probes), goes through, and its result closes or opens it. Which failures open it, and for how long, is the
//! [`BreakerPolicy`]. A call counts in the state in which it was let through: one from before a change changes nothing.
//!
//! # What counts
//! | end of a call | counts as |
//! |---|---|
//! | an answer, delivered to its last byte | a success |
//! | an error of the tool, an answer that [is an error](crate::ToolOutput::is_error), an HTTP status of 500 or above | a failure; [by predicate](BreakerPolicy::with_failures) |
//! | a timeout of a timeout layer, inside or outside of the breaker | a failure; nothing, where no attempt of the call got past the waiting lines of layers further in |
//! | a panic | a failure; [or nothing](BreakerPolicy::with_panics) |
//! | dropped by the caller, cancelled | nothing; [or a failure](BreakerPolicy::with_drops) |
//! | refused by a layer further in, arguments that do not fit | nothing |
//!
//! A probe whose end counts as nothing makes way for the next one.
//!
//! # Readiness
//! Always ready: `LoadShed`, `Balance` and `ready()` outside do not see that the breaker is open. A call is let through or refused in
//! `call`, and waits for nothing; the inner service is waited for inside the call's future.
//!
//! # Cancellation
//! Dropping the future ends the call; a probe that is dropped makes way for the next one.
//!
//! # Errors
//! `Overloaded` and `InvalidArguments` for a key [for which there is no room](CircuitBreakerLayer::with_key_bounds), or that is too long.
//! `CircuitOpen`, with the time after which a call is let through; without one while a probe is under way. `Timeout` for a call that comes at
//! or after its deadline, so that it is no probe.
//!
//! # Clone
//! Clones of the layer, and services made of one layer value, share one breaker. A new value is a new breaker.
//!
//! # Order
//! Timeouts count on either side. Outside of a limit, the breaker refuses before a token or a permit is taken; inside, a call may wait
//! in line only to be refused. Outside of a retry it sees calls as a whole; inside, each attempt.
//!
//! # Cost
//! A call through a breaker that is closed allocates nothing. Its result takes a lock for a moment where it may change something: not a success where the call
//! before did not fail, slow calls are not counted, and a rate is over calls, has its window full and no failure in it. By tool or by key, finding the breaker takes one lock more. A window of calls holds a bit for each, one of time ten counts.

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
