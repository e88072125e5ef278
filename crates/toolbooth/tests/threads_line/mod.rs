//! The library's module of this name, but for its own tests.

#[path = "../../src/line/driver.rs"]
mod driver;
#[path = "../../src/line/limits.rs"]
mod limits;
mod order;
#[path = "../../src/line/place.rs"]
mod place;
#[path = "../../src/line/refusal.rs"]
mod refusal;
#[path = "../../src/line/rule.rs"]
mod rule;
#[path = "../../src/line/state.rs"]
mod state;

mod keyed;
mod tests;

pub(crate) use limits::{Key, Limits};
pub(crate) use order::Order;
pub(crate) use place::Place;
pub(crate) use refusal::Refusal;
pub(crate) use rule::Rule;
pub(crate) use state::Line;

const DEFAULT_QUEUE_CAPACITY: usize = 1_024;
