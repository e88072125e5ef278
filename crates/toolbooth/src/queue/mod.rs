//! The waiting queue of both limits.
//!
//! | type | what it owns |
//! |---|---|
//! | [`Limits`] | the queue of a layer, or one for each tool or key, and what a call costs |
//! | [`LimitQueue`] | one [`Limiter`] (permits or a token bucket) and the calls that wait for it |
//! | [`Waiter`] | one call in a queue; dropping it leaves the queue |
//! | [`Waiters`](waiters::Waiters) | the waiters in the [`Order`] of their grants: no locks or clocks |

mod classes;
mod keyed;
#[cfg(all(test, shuttle))]
mod keyed_models;
mod limit_queue;
mod limiter;
mod limits;
#[cfg(all(test, shuttle))]
mod models;
mod order;
mod overflow;
mod rejection;
mod setting;
mod timer;
mod waiter;
mod waiters;
#[cfg(test)]
mod waiters_model;

pub(crate) use limit_queue::LimitQueue;
pub(crate) use limiter::{Grant, Limiter};
pub(crate) use limits::{Demand, Limits};
pub use order::Order;
pub(crate) use rejection::{Rejection, trace_rejection};
pub(crate) use setting::QueueSetting;
pub(crate) use waiter::Waiter;

/// The default for how many calls may wait in a queue.
const DEFAULT_CAPACITY: usize = 1_024;
