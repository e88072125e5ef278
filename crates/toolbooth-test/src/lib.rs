//! Mock tools, probes, recorders and paused-clock helpers for testing stacks of toolbooth's layers.
//!
//! A test says what a stack does with equalities, on a clock that stands still until everybody waits:
//!
//! ```
//! use toolbooth::{CleanupLayer, Outcome, TimeoutLayer, ToolCall};
//! use toolbooth_test::{ResourceCleanupTool, call_all, ms};
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
//! let calls = (0..30).map(|_| ToolCall::new("resource", serde_json::json!(null)));
//! let finished = call_all(stack, calls).await;
//!
//! assert!(finished.iter().all(|call| call.at == ms(2_000) && call.result.is_err()));
//! assert_eq!((tool.resources().started(), tool.resources().finished()), (30, 30));
//! cleanup.drain(ms(5_000)).await;
//! assert_eq!(tool.hooks().values(), [Outcome::TimedOut; 30]);
//! # }
//! ```
//!
//! | for | there is |
//! |---|---|
//! | tools that behave badly in known ways | [`SlowTool`], [`FastTool`], [`PartialResultTool`], [`StreamingTool`], [`GeneratorTool`], [`HeartbeatTool`], [`FailingTool`], [`ErrorInjectionTool`], [`ResourceCleanupTool`], [`ResourceIntensiveTool`], [`RateLimitedTool`], [`ChainedTool`] |
//! | how many calls are inside a tool | [`Probe`] |
//! | what happened, and when; what hooks were told | [`Recorder`] |
//! | many calls at once, each with its time | [`call_all`] |
//! | a clock to compare with | [`Stopwatch`], [`ms`] |
//! | every order of the layers of a stack | [`orders`] |
//! | stacks of one type, whatever their layers | [`BoxTool`], [`boxed`] |
//! | how often a future is woken | [`count_wakes`] |
//!
//! Every tool is a `Service<ToolCall>`; its clones share their counts, so that one stays with the test
//! while another goes into the stack.
//!
//! The times are exact on a paused clock (`#[tokio::test(start_paused = true)]`, tokio's feature `test-util`).

#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc(test(attr(deny(warnings))))]

mod calls;
mod clock;
mod orders;
mod probe;
mod recorder;
mod stack;
mod sync;
mod tools;
mod wakes;

pub use calls::{Finished, call_all};
pub use clock::{Stopwatch, ms};
pub use orders::orders;
pub use probe::{Inside, Probe};
pub use recorder::Recorder;
pub use stack::{BoxTool, boxed};
pub use tools::{
    ChainedTool, ErrorInjectionTool, FailingTool, FastTool, GeneratorTool, HeartbeatTool,
    InjectedError, PartialResultTool, RateLimitedTool, ResourceCleanupTool, ResourceIntensiveTool,
    SlowTool, StreamingTool, ToolFuture,
};
pub use wakes::count_wakes;
