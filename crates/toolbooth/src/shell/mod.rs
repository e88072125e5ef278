//! What every layer stands on: one future, one way to start what is inside, settings by tool.

mod config;
mod guarded;
mod per_tool;
mod refusal;

pub use config::ConfigError;
pub(crate) use guarded::{Admit, Guarded, LayerWatch};
pub use per_tool::PerTool;
pub(crate) use refusal::{past_deadline, trace_refusal};
