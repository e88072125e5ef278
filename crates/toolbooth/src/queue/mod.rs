//! The waiting line of both limits: who is next and when, apart from how they are woken.

mod driver;
mod limits;
mod order;
mod place;
mod rejection;
mod rule;
mod state;

pub(crate) use limits::{Cost, Key, Limits, Needs};
pub use order::Order;
pub(crate) use place::Place;
pub(crate) use rejection::{Rejection, trace_rejection};
pub(crate) use rule::Rule;
pub(crate) use state::Line;

/// How many calls may wait where nothing else is said.
pub(crate) const DEFAULT_QUEUE_CAPACITY: usize = 1_024;
