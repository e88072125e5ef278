//! Metrics of whole stacks: what holds after any run, and what an event costs.

mod allocations;
mod chaos;
mod prometheus;
#[path = "../../crates/toolbooth/tests/support/metrics.rs"]
mod recorded;
mod sums;
