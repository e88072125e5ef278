//! The seams: what a layer needs of a request and of a response, and how it follows a call to its
//! end.

mod checked;
mod follow;
#[cfg(feature = "http")]
mod http;
mod part;
mod request;
mod response;
mod watch;

pub use checked::checked;
#[cfg(feature = "http")]
pub use http::{CallDeadline, ToolName, WatchedBody};
pub use part::{Part, Reading, TaskScope};
pub use request::ToolRequest;
pub use response::ToolResponse;
pub use watch::{End, Item, ResponseHead, Watch};
