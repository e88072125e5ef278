//! The library's module of this name, but for its own tests.

#[path = "../../src/line/order/fair.rs"]
mod fair;
#[path = "../../src/line/order/priority.rs"]
mod priority;
#[path = "../../src/line/order/queue.rs"]
mod queue;
#[path = "../../src/line/order/settings.rs"]
mod settings;

pub(super) use priority::Classes;
pub(super) use queue::{Queue, Ticket, Who};
pub(crate) use settings::Order;
