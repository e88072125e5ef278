//! Conversions between the types of toolbooth and those of MCP.

mod block;
mod error;
mod from_tool;
mod meta;
pub(crate) mod relay;
mod result;
mod to_tool;

pub(crate) use error::error_result;
pub(crate) use from_tool::from_tool;
pub use meta::{ERROR_META_KEY, ITEMS_META_KEY, TIMEOUT_META_KEY};
pub(crate) use result::to_result;
pub(crate) use to_tool::to_tool;
