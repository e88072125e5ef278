//! The library's module of this name, but for its own tests.

#[path = "../../src/line/order/fair.rs"]
mod fair;
#[path = "../../src/line/order/priority.rs"]
mod priority;
#[path = "../../src/line/order/queue.rs"]
mod queue;
#[path = "../../src/line/order/settings.rs"]
mod settings;
#[path = "../../src/line/order/slots.rs"]
mod slots;

pub(super) use priority::Classes;
pub(super) use queue::{Queue, Who};
pub(crate) use settings::Order;
pub(super) use slots::{MOST, Standing, Ticket};
