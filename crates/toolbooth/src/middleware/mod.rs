//! What every layer stands on: one future, one way to start what is inside, settings by tool.

mod builder_ext;
mod config;
mod contained;
mod guarded;
pub(crate) mod keys;
#[cfg(test)]
mod keys_model;
mod per_tool;
mod rejection;
pub(crate) mod sync;

pub use builder_ext::ServiceBuilderExt;
pub use config::ConfigError;
pub(crate) use contained::Contained;
pub(crate) use guarded::Admit;
pub(crate) use guarded::Decision;
pub(crate) use guarded::Guarded;
pub(crate) use guarded::Never;
pub(crate) use guarded::ask;
pub use per_tool::PerTool;
pub(crate) use rejection::not_to_start;
