//! Results of remote tools as responses that a server makes the same results of again.
//!
//! What a response has no place for is in its metadata, under [`BLOCKS`] and [`STRUCTURED`]. Both
//! stay in this process: a server removes them from the `_meta` of a result.

mod block;
mod result;

pub(crate) use block::to_block;
pub(crate) use result::{from_custom_result, from_result};

/// The key of an object from the index of a content to what the content does not have of its block:
/// see `block`. `null` is for a content that stands for no block.
pub(crate) const BLOCKS: &str = "dev.toolbooth/blocks";

/// The key of the `structuredContent` of the result.
pub(crate) const STRUCTURED: &str = "dev.toolbooth/structured_content";
