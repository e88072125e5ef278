//! toolbooth's limits shared by several processes, on a Redis or Valkey server.
//!
//! [`SharedLimits`] applies them, [`RedisStore`] is the store behind. Processes that use the same
//! server, prefix and name share a limit.
//!
//! # On the server
//! Version 7.0 or newer of Redis, or Valkey. Each key expires by itself. The keys of one limit have
//! the same hash tag. The scripts use no time but the server's.
//!
//! A user needs the keys and channels of the prefix, and these commands:
//!
//! ```text
//! ACL SETUSER limits on >password resetchannels &toolbooth:* ~toolbooth:* -@all
//!     +hello +select +subscribe +publish +eval +evalsha +time +get +set +del +pexpireat
//!     +hget +hmget +hset +hdel +zadd +zcard +zrange +zrem +zremrangebyscore +zscore
//! ```
//!
//! # Requirements
//! Rust 1.88 or newer. The feature `tls` adds `rediss://`.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc(test(attr(deny(warnings))))]
#![forbid(unsafe_code)]

mod commands;
mod error;
mod keys;
mod limits;
mod link;
mod options;
mod scripts;
mod status;
mod store;

pub use error::ConnectError;
pub use limits::SharedLimits;
pub use options::RedisOptions;
pub use status::{BucketStatus, HolderStatus, LimitStatus, WaiterStatus};
pub use store::RedisStore;
