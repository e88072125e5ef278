//! Mock tools, scripts, faults, probes, recorders, assertions and paused-clock helpers for testing
//! stacks of toolbooth's layers.
//!
//! All of it is importable from this one place, the root of the crate. On a paused clock a test
//! waits for no real time, and asserts exact instants:
//!
//! ```
//! use toolbooth::{CleanupLayer, Outcome, TimeoutLayer};
//! use toolbooth_test::{
//!     ResourceCleanupTool, assert_released, assert_timed_out, call, call_all, ms,
//! };
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
//! assert_timed_out(&finished, ms(2_000));
//! assert_released(tool.resources(), 30);
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
//! A test has four parts: a tool, the stack around it, calls, and assertions. The example `testing`
//! of the repository is a whole test module of an application.
//!
//! 1. **The tool.** To test an application, its own tools with a fake backend. To test a stack, one
//!    of the [mock tools](#mock-tools), or a [`ScriptedTool`] that does what the test lists.
//! 2. **The stack.** Build it by the same function as in production. Keep a clone of each layer
//!    whose state the test reads: a layer value is the handle of its state.
//! 3. **The calls.** [`call`] makes one, and every field can be set alone. A [`CallFactory`] makes
//!    calls with the same ids in each run. [`call_all`] makes calls at once and collects their
//!    responses.
//! 4. **The assertions.** [`assert_outcomes`], [`assert_timed_out`] and the others print the table
//!    of all calls when they fail. A [`Probe`] shows what ran inside the tool, and whether it was
//!    dropped.
//!
//! # What is here
//!
//! | to | use |
//! |---|---|
//! | make one call without arguments | [`call`] |
//! | make calls whose ids are the same in each run | [`CallFactory`] |
//! | make many calls at once, each with its result and time | [`call_all`] |
//! | assert what calls returned, and when | [`assert_ok`], [`assert_outcomes`], [`assert_timed_out`], [`assert_ended_at`] |
//! | assert that what has started has ended | [`assert_released`] |
//! | print or summarize what calls returned | [`CallTable`], [`count_ok`], [`count_kind`], [`last_ok`], [`outcome`] |
//! | read an error | [`timeout_of`], [`cancel_reason`], [`overload_reason`] |
//! | count how many calls are inside a tool | [`Probe`] |
//! | record events with their times, those of an events layer, and the outcomes of hooks | [`Recorder`] |
//! | receive the outcome of one call | [`Outcomes`] |
//! | count wakeups | [`count_wakes`], [`WakeCounter`] |
//! | build a stack in every order of its layers | [`orders`], [`boxed`], [`BoxTool`] |
//! | measure time on tokio's clock | [`Stopwatch`], [`ms`] |
//! | list what each call of a tool does | [`Script`], [`ScriptedTool`] |
//! | control a tool's readiness, and see which clone was used | [`ScriptedTool`] |
//! | make any tool slow, failing, hanging or panicking for a share of its calls | [`FaultLayer`] |
//!
//! # Mock tools
//!
//! Each has one known behavior. Together they are the tools of two public stress-test reports, on
//! timeouts and on concurrent calls, with the same parameters.
//!
//! | tool | what a call does | settings and their defaults |
//! |---|---|---|
//! | [`SlowTool`] | completes after a time, or fails at once for the first n calls | the time is required; n is 0 |
//! | [`FastTool`] | completes after 10 ms | |
//! | [`VariableDelayTool`] | completes after a random delay, the same for a seed | 50 to 500 ms |
//! | [`PartialResultTool`] | publishes a snapshot after a delay, and never completes | the delay is required |
//! | [`StreamingTool`] | emits chunks with a delay after each, then returns all of them | delay and number are required; can fail on a chunk |
//! | [`GeneratorTool`] | returns a streaming response of items with an interval between them | interval and number are required |
//! | [`HeartbeatTool`] | works through its items and reports progress | 10 items of 200 ms, 500 ms between reports |
//! | [`ConfigurableTimeoutTool`] | one of seven behaviors, replaceable at run time | [`MockToolConfig`] |
//! | [`ConfigurableConcurrencyTool`] | takes a time; fails after n calls or for a share of them | 100 ms, never fails |
//! | [`ErrorInjectionTool`] | completes after a delay, with the error that its arguments select | by argument: no error, 0 ms |
//! | [`FailingTool`] | completes at once for the first n calls, then fails at once | n is required |
//! | [`ResourceCleanupTool`] | acquires a resource, registers a hook, and takes a time | the time is required |
//! | [`ResourceIntensiveTool`] | allocates memory and holds it for a time | bytes and time are required |
//! | [`RateLimitedTool`] | a backend with a limit of its own: 20 calls in any second, of 50 ms each | |
//! | [`PriorityTool`] | takes 100 ms, and records the priority of each call that starts | |
//! | [`RaceConditionTool`] | increments a counter and loses updates of other tools | a counter and a lock of its own |
//! | [`ChainedTool`] | makes nested calls, one after the other | 3 calls |
//!
//! The tracker of the reports is a [`Probe`], which counts inside the tool. Their bulk executor is
//! [`call_all`] through a `ConcurrencyLimitLayer`.
//!
//! Every tool is a `Service<ToolCall>`. Its clones share their counts: one clone goes into the
//! stack, another stays with the test.
//!
//! [`MemoryStore`] keeps limits that several processes share, with faults on request.
//!
//! # Faults
//!
//! Use a [`FaultLayer`] to test what an application does when its tools fail. The faults of the
//! n-th call of a tool depend on the seed alone, so a test that fails for a seed fails again.
//!
//! ```
//! use toolbooth::{CatchPanicLayer, Outcome, TimeoutLayer};
//! use toolbooth_test::{FastTool, FaultLayer, Faults, call, call_all, ms};
//! use tower::ServiceBuilder;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let faults = Faults::new().with_errors(0.1).with_hangs(0.1).with_panics(0.1);
//! let faults = FaultLayer::seeded(1).with_faults(faults);
//! let stack = ServiceBuilder::new()
//!     .layer(TimeoutLayer::new(ms(1_000)))
//!     .layer(CatchPanicLayer::new())
//!     .layer(faults.clone())
//!     .service(FastTool::new());
//! let finished = call_all(stack, (0..100).map(|_| call("api"))).await;
//!
//! // Each call has one outcome, and each fault is the outcome of its call.
//! let other = finished.iter().filter(|call| call.outcome() != Outcome::Completed).count();
//! assert_eq!(other, faults.injected().len());
//! # }
//! ```

#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc(test(attr(deny(warnings))))]

mod asserts;
mod calls;
mod clock;
mod factory;
mod faults;
mod memory_store;
mod orders;
mod outcomes;
mod probe;
mod recorder;
mod results;
mod script;
mod scripted;
mod stack;
mod sync;
mod tools;
mod wakes;

pub use asserts::{
    CallTable, assert_ended_at, assert_ok, assert_outcomes, assert_released, assert_timed_out,
};
pub use calls::{Finished, call_all};
pub use clock::{Stopwatch, ms};
pub use factory::{CallFactory, call};
pub use faults::{Fault, FaultLayer, FaultService, Faults, InjectedFault};
pub use memory_store::{MemoryStore, StoreSnapshot};
pub use orders::orders;
pub use outcomes::Outcomes;
pub use probe::{Inside, Probe};
pub use recorder::Recorder;
pub use results::{
    cancel_reason, count_kind, count_ok, last_ok, outcome, overload_reason, timeout_of,
};
pub use script::Script;
pub use scripted::{Readiness, ScriptedFuture, ScriptedTool, ToolLog};
pub use stack::{BoxTool, boxed};
pub use tools::{
    ChainedTool, ConfigurableConcurrencyTool, ConfigurableTimeoutTool, ErrorInjectionTool,
    FailingTool, FastTool, GeneratorTool, HeartbeatTool, InjectedError, MockBehavior, MockRecord,
    MockToolConfig, PartialResultTool, PriorityTool, RaceConditionTool, RateLimitedTool,
    ResourceCleanupTool, ResourceIntensiveTool, SlowTool, StreamingTool, ToolFuture,
    VariableDelayTool,
};
pub use wakes::{WakeCounter, count_wakes};
