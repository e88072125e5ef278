//! Building blocks for authors of layers. The layers of this crate are built on them.
//!
//! A layer that uses them composes with every other one in any order, and keeps the promises of
//! this crate: it holds what it acquired until the last byte of a response is delivered, and
//! releases it exactly once, however the call ends. [`guide`] shows how to write one.
//!
//! # One call through a layer
//!
//! | when | what happens | where |
//! |---|---|---|
//! | `call` | the layer enters the call | [`Part::enter`] |
//! | | it decides to start, to wait or to reject | [`Decision`] |
//! | | if it starts: the inner service is polled for readiness and called | [`LayerFuture::new`] |
//! | `poll` | if it waits: the future acquires what the layer needs | [`Acquire`] |
//! | | the inner service becomes ready and is called | [`LayerFuture`] |
//! | | the inner future is polled; when it completes, it is dropped in the same poll | [`LayerFuture`] |
//! | | the response is returned, with the watch inside | [`PartWatch`] |
//! | the response | the watch observes the head and each item | [`LayerWatch`] |
//! | the end | everything inside has been dropped; the watch releases what the layer acquired | [`LayerWatch::on_end`] |
//!
//! The end comes with the last byte of the response, or earlier: with an error, with a panic, or
//! when the future or the response is dropped. Each layer ends its part before the caller sees the
//! outcome, the inner layers first.
//!
//! # Which type to use
//!
//! | to | use |
//! |---|---|
//! | make and poll a call | [`LayerFuture`], [`Decision`], [`Acquire`] |
//! | observe a call to its end | [`LayerWatch`], [`PartWatch`] |
//! | read the call, and share what other layers must know | [`Part`] |
//! | read and compare instants, and limits on a call | [`Moment`], [`Bound`], [`Reading`] |
//! | take one permit for a whole call, and keep it | [`LimitId`], [`KeptPermits`] |
//! | let a tool adjust its cost | [`AdjustCost`] |
//! | name the layer in its errors | [`LayerName`] |
//! | observe activity | [`Pulse`] |
//! | report events | [`Part::report`], [`Reporter`] |
//! | run cleanup hooks | [`Hooks`], [`RunHooks`], [`HookCounter`], [`DEFAULT_HOOK_LIMIT`] |
//! | keep partial results | [`KeepPolicy`] |
//! | run the inner service on a task | [`TaskScope`] |
//!
//! The traits that requests and responses implement are at the root of the crate:
//! [`ToolRequest`](crate::ToolRequest), [`ToolResponse`](crate::ToolResponse),
//! [`Watch`](crate::Watch). A layer only names them.

mod accessors;
mod config;
mod decision;
mod future;
mod guards;
#[doc = include_str!("../../docs/write_a_layer.md")]
#[doc = "```"]
#[doc = "# #![allow(dead_code)]"]
#[doc = include_str!("../../docs/audit_layer.rs")]
#[doc = "```"]
pub mod guide {}
mod key_fn;
pub(crate) mod keys;
#[cfg(test)]
mod keys_model;
mod layer_events;
mod per_tool;
mod rejection;
#[cfg(feature = "http")]
mod retry_after;
mod state;
#[cfg(feature = "http")]
pub(crate) mod status;
pub(crate) mod sync;
pub(crate) mod tracker;
mod watch;

pub(crate) use accessors::{inner_accessors, layer_name, limit_events};
pub use config::ConfigError;
pub use decision::{Acquire, Decision};
pub(crate) use decision::{Slot, Verdict};
pub use future::LayerFuture;
pub(crate) use key_fn::KeyFn;
pub(crate) use layer_events::LayerEvents;
pub use per_tool::PerTool;
pub(crate) use rejection::{DEFAULT_RETRY_AFTER, KeyRejection, not_to_start};
#[cfg(feature = "http")]
pub(crate) use retry_after::retry_after;
pub use toolbooth_core::{
    AdjustCost, Bound, DEFAULT_HOOK_LIMIT, HookCounter, Hooks, KeepPolicy, KeptPermits, LayerName,
    LimitId, Moment, Part, Pulse, Reading, Reporter, RunHooks, TaskScope,
};
pub use watch::{LayerWatch, PartWatch};
