//! What a tool answers, and what is kept of an answer that was cut short.

mod checkpoint;
mod content;
mod kept;
mod output;
mod partial;
mod stream;

pub use checkpoint::{Checkpointed, MAX_CHECKPOINT};
pub use content::Content;
pub use kept::KeepPolicy;
pub(crate) use kept::{Displaced, Partials};
pub(crate) use output::Body;
pub use output::{Collected, IntoToolOutput, ToolOutput};
pub use partial::Partial;
pub use stream::ContentStream;
