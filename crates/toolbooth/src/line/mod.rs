//! The waiting line of both limits: who is next and when, apart from how they are woken.

mod driver;
mod place;
mod refusal;
mod rule;
mod state;

pub(crate) use place::{Place, Refusal};
pub(crate) use refusal::trace_refusal;
pub(crate) use rule::Rule;
pub(crate) use state::Line;

/// How many calls may wait where nothing else is said.
pub(crate) const DEFAULT_QUEUE_CAPACITY: usize = 1_024;
