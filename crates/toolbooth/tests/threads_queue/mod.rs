//! The library's module of this name, but for its own tests.

#[path = "../../src/queue/driver.rs"]
mod driver;
#[path = "../../src/queue/limits.rs"]
mod limits;
mod order;
#[path = "../../src/queue/place.rs"]
mod place;
#[path = "../../src/queue/rejection.rs"]
mod rejection;
#[path = "../../src/queue/rule.rs"]
mod rule;
#[path = "../../src/queue/state.rs"]
mod state;

mod keyed;
mod tests;

pub(crate) use limits::{Key, Limits};
pub(crate) use order::Order;
pub(crate) use place::Place;
pub(crate) use rejection::Rejection;
pub(crate) use rule::Rule;
pub(crate) use state::Line;

const DEFAULT_QUEUE_CAPACITY: usize = 1_024;
