//! Mock tools, probes, recorders and paused-clock helpers for testing stacks of toolbooth's layers.
//!
//! On a paused clock a test waits for no real time, and asserts exact instants:
//!
//! ```
//! use toolbooth::{CleanupLayer, Outcome, TimeoutLayer};
//! use toolbooth_test::{ResourceCleanupTool, call, call_all, ms};
//! use tower::ServiceBuilder;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let tool = ResourceCleanupTool::new(ms(60_000));
//! let cleanup = CleanupLayer::new();
//! let stack = ServiceBuilder::new()
//!     .layer(TimeoutLayer::new(ms(2_000)))
//!     .layer(cleanup.clone())
//!     .service(tool.clone());
//!
//! let finished = call_all(stack, (0..30).map(|_| call("resource"))).await;
//!
//! assert!(finished.iter().all(|call| call.at == ms(2_000) && call.result.is_err()));
//! assert_eq!((tool.resources().started(), tool.resources().finished()), (30, 30));
//! cleanup.drain(ms(5_000)).await;
//! assert_eq!(tool.hooks().values(), [Outcome::TimedOut; 30]);
//! # }
//! ```
//!
//! # In your tests
//!
//! ```toml
//! [dev-dependencies]
//! tokio = { version = "1", features = ["macros", "rt", "test-util"] }
//! toolbooth-test = "0.1"
//! ```
//!
//! Write `#[tokio::test(start_paused = true)]`. The clock then moves only when every task waits,
//! so a timer fires at its exact millisecond. `std::time::Instant` and blocking work do not follow
//! the paused clock.
//!
//! # What is here
//!
//! | to | use |
//! |---|---|
//! | make one call without arguments | [`call`] |
//! | make many calls at once, each with its result and time | [`call_all`] |
//! | summarize what calls returned | [`count_ok`], [`count_kind`], [`last_ok`], [`outcome`] |
//! | read an error | [`timeout_of`], [`cancel_reason`], [`overload_reason`] |
//! | count how many calls are inside a tool | [`Probe`] |
//! | record events with their times, and the outcomes of hooks | [`Recorder`] |
//! | receive the outcome of one call | [`Outcomes`] |
//! | count wakeups | [`count_wakes`], [`WakeCounter`] |
//! | build a stack in every order of its layers | [`orders`], [`boxed`], [`BoxTool`] |
//! | measure time on tokio's clock | [`Stopwatch`], [`ms`] |
//! | control a tool's readiness and work, and see which clone was used | [`ScriptedTool`] |
//! | complete after a time | [`SlowTool`], [`FastTool`] |
//! | stream items, emit chunks | [`GeneratorTool`], [`StreamingTool`] |
//! | publish a snapshot, report progress | [`PartialResultTool`], [`HeartbeatTool`] |
//! | fail after n calls, or with the error that the arguments name | [`FailingTool`], [`ErrorInjectionTool`] |
//! | acquire a resource and register a hook | [`ResourceCleanupTool`] |
//! | allocate memory | [`ResourceIntensiveTool`] |
//! | put a limit in front of a backend with a limit of its own | [`RateLimitedTool`] |
//! | make nested calls | [`ChainedTool`] |
//!
//! Every tool is a `Service<ToolCall>`. Its clones share their counts: one clone goes into the
//! stack, another stays with the test.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc(test(attr(deny(warnings))))]

mod calls;
mod clock;
mod orders;
mod outcomes;
mod probe;
mod recorder;
mod results;
mod scripted;
mod stack;
mod sync;
mod tools;
mod wakes;

pub use calls::{Finished, call, call_all};
pub use clock::{Stopwatch, ms};
pub use orders::orders;
pub use outcomes::Outcomes;
pub use probe::{Inside, Probe};
pub use recorder::Recorder;
pub use results::{
    cancel_reason, count_kind, count_ok, last_ok, outcome, overload_reason, timeout_of,
};
pub use scripted::{Readiness, ScriptedFuture, ScriptedTool, ToolLog};
pub use stack::{BoxTool, boxed};
pub use tools::{
    ChainedTool, ErrorInjectionTool, FailingTool, FastTool, GeneratorTool, HeartbeatTool,
    InjectedError, PartialResultTool, RateLimitedTool, ResourceCleanupTool, ResourceIntensiveTool,
    SlowTool, StreamingTool, ToolFuture,
};
pub use wakes::{WakeCounter, count_wakes};
