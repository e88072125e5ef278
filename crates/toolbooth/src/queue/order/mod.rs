//! Who of those who wait is next: rules without wakers, locks or clocks. Tickets in, next ticket out.
//!
//! Invariants:
//! 1. The list of all who wait, kept where the order asks for who waits longest, is in the order in which they came: that is the
//!    first of it.
//! 2. With classes, everybody who waits is in exactly one of them.
//! 3. Those of one key and one class are served in the order in which they came, so that who waits longest of all is
//!    the first of its key: an aged one is never taken from the middle.
//! 4. A ticket is its holder's from when it lines up until it gives it back, whatever became of it meanwhile.

mod fair;
#[cfg(test)]
mod model;
mod priority;
mod settings;
mod slots;
mod waiters;

pub(super) use priority::Classes;
pub use settings::Order;
pub(super) use slots::{MOST, Standing, Ticket};
pub(super) use waiters::{Queue, Who};
