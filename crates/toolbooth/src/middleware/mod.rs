//! The parts that all layers share: the future, the start of the inner service, settings by tool.

mod accessors;
mod config;
mod decision;
mod future;
pub(crate) mod keys;
#[cfg(test)]
mod keys_model;
mod per_tool;
mod rejection;
pub(crate) mod sync;
mod watch;

pub(crate) use accessors::inner_accessors;
pub use config::ConfigError;
pub use decision::{Acquire, Decision};
pub use future::LayerFuture;
pub use per_tool::PerTool;
pub(crate) use rejection::not_to_start;
pub use toolbooth_core::{
    Bound, DEFAULT_HOOK_LIMIT, HookCounter, Hooks, KeepPolicy, Moment, Part, Pulse, Reading,
    RunHooks, TaskScope,
};
pub use watch::{LayerWatch, PartWatch};
