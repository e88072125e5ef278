//! Limits that several processes share, in a store such as a Redis server.

mod fence;
mod handle;
mod health;
mod options;
mod place;
mod queue;
mod store;

pub use fence::FencingNumber;
pub use handle::SharedStore;
pub(crate) use handle::{Bell, Link};
pub use options::{SharedOptions, WhenAway};
pub(crate) use place::Place;
pub(crate) use queue::{SharedQueue, StoreRejection, Waiting};
pub use store::{
    Heartbeat, Holder, LimitStore, Notify, PermitsUpdated, ReturnTokens, SharedQuota, StoreError,
    StoreFuture, TakeTokens, TokensTaken, UpdatePermits,
};
