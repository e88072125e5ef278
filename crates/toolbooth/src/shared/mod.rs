//! Limits that several processes share, in a store such as a Redis server.

mod store;

pub use store::{
    Heartbeat, Holder, LimitStore, Notify, PermitsUpdated, ReturnTokens, SharedQuota, StoreError,
    StoreFuture, TakeTokens, TokensTaken, UpdatePermits,
};
