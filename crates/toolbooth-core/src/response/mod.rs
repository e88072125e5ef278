//! The response of a tool, and the partial result of a call that did not complete.

mod buffer;
mod checkpoint;
mod content;
mod contents;
mod emitted;
mod json;
mod keep_policy;
mod output;
mod partial;
mod partials;
mod stream;

pub(crate) use buffer::Displaced;
pub use checkpoint::{Checkpointed, MAX_CHECKPOINT};
pub use content::Content;
pub(crate) use contents::Contents;
pub(crate) use emitted::Emitted;
pub(crate) use json::TooDeep;
pub use json::{MAX_JSON_DEPTH, nests_too_deep};
pub use keep_policy::KeepPolicy;
pub(crate) use output::Body;
pub use output::{Collected, IntoToolOutput, ToolOutput};
pub use partial::Partial;
pub(crate) use partials::Partials;
pub use stream::ContentStream;
