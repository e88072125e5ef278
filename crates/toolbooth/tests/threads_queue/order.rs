//! The library's module of this name, but for its own tests.

#[path = "../../src/queue/order/fair.rs"]
mod fair;
#[path = "../../src/queue/order/priority.rs"]
mod priority;
#[path = "../../src/queue/order/waiters.rs"]
mod queue;
#[path = "../../src/queue/order/settings.rs"]
mod settings;
#[path = "../../src/queue/order/slots.rs"]
mod slots;

pub(super) use priority::Classes;
pub(super) use queue::{Queue, Who};
pub(crate) use settings::Order;
pub(super) use slots::{MOST, Standing, Ticket};
