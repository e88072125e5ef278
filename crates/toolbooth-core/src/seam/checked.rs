use tower_service::Service;

use super::{ToolRequest, ToolResponse};
use crate::error::BoxError;

/// Returns the service unchanged. It compiles only if the layers of toolbooth can wrap the service
/// for requests `R`, and otherwise names the missing bound.
///
/// ```
/// use toolbooth_core::{ToolCall, ToolOutput, checked};
/// use tower::service_fn;
///
/// let tool = service_fn(async |_: ToolCall| Ok::<_, std::io::Error>(ToolOutput::text("hello")));
/// let tool = checked::<ToolCall, _>(tool);
/// # let _ = tool;
/// ```
pub fn checked<R, S>(service: S) -> S
where
    R: ToolRequest,
    S: Service<R> + Clone,
    S::Response: ToolResponse,
    S::Error: Into<BoxError> + 'static,
{
    service
}
