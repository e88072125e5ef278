//! Conversions between the types of toolbooth and those of MCP.

mod from_tool;
mod meta;
pub(crate) mod relay;

pub(crate) use from_tool::from_tool;
pub use meta::TIMEOUT_META_KEY;
