//! What the concurrency limit and the rate limit share: keys, costs, orders, builders and changes.
//!
//! All times are equalities on the paused clock. The doc comment of a test names its guarantee: L
//! is the concurrency limit, Q the rate limit. Other ids name cases in which other crates go wrong.
//! Those with layers of tower are in the target `foreign` of the workspace's tests.

#[path = "../support/mod.rs"]
mod support;

mod builders;
mod changes;
mod debug;
mod events;
mod keys;
mod order;

use std::convert::Infallible;
use std::time::Duration;

use serde_json::json;
use support::limits::{begin, calls, ends, overload, quota, recording, starts_at, tenant};
use tokio::task::yield_now;
use tokio::time::sleep;
use toolbooth::{
    CallContext, ConcurrencyLimitLayer, ErrorKind, Order, Outcome, OverloadReason, Quota,
    RateLimitLayer, ToolCall, ToolError, tool_fn,
};
use toolbooth_test::{
    BoxTool, FastTool, Finished, Recorder, SlowTool, Stopwatch, boxed, call, call_all, count_kind,
    count_ok, last_ok, ms, overload_reason,
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
