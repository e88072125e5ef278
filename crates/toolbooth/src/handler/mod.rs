//! Tools made of functions.

mod args;
mod handle;
mod lenient;
mod stream_tool_fn;
mod tool_fn;

#[cfg(all(feature = "process", unix))]
pub(crate) use args::parse;
pub use handle::{Handler, StreamHandler};
pub use stream_tool_fn::{StreamToolFn, stream_tool_fn};
pub use tool_fn::{ResponseFuture, ToolFn, tool_fn};
