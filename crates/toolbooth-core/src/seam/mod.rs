//! The seams: the requirements of a layer on requests and responses, and the observation of a call
//! until its end.

mod checked;
mod events;
mod follow;
#[cfg(feature = "http")]
mod http;
mod limits;
mod part;
mod request;
mod response;
mod task_scope;
mod watch;

pub use checked::checked;
#[cfg(feature = "http")]
pub use http::{CallDeadline, CallPriority, CallTenant, RequestHead, ToolName, WatchedBody};
pub use part::{Part, Reading};
pub use request::ToolRequest;
pub use response::ToolResponse;
pub use task_scope::TaskScope;
pub use watch::{End, Item, ResponseHead, Watch};
