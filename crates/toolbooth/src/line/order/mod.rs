//! Who of those who wait is next: rules without wakers, locks or clocks. Tickets in, next ticket out.
//!
//! Invariants:
//! 1. A later arrival has a higher ticket: the lowest is who waits longest.
//! 2. With classes, every ticket that waits is in exactly one of them.
//! 3. Those of one key and one class are served in the order in which they came, so that who waits longest of all is
//!    the first of its key: an aged one is never taken from the middle.

mod fair;
#[cfg(test)]
mod model;
mod priority;
mod queue;
mod settings;

pub(super) use priority::Classes;
pub(super) use queue::{Queue, Ticket, Who};
pub use settings::Order;
