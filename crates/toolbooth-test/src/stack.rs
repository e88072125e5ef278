use toolbooth_core::{BoxError, ToolCall, ToolError, ToolOutput};
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;
use tower_service::Service;

/// A tool or a stack with its type erased: every order of the layers has this one type.
pub type BoxTool = BoxCloneSyncService<ToolCall, ToolOutput, ToolError>;

/// Erases the type of a service and turns its error into a [`ToolError`].
///
/// ```
/// use toolbooth::{ConcurrencyLimitLayer, TimeoutLayer};
/// use toolbooth_test::{BoxTool, FastTool, boxed, ms};
/// use tower::Layer;
///
/// let timeout = |inner| boxed(TimeoutLayer::new(ms(100)).layer(inner));
/// let limit = |inner| boxed(ConcurrencyLimitLayer::new(1).layer(inner));
/// let stacks: [BoxTool; 2] = [
///     timeout(limit(boxed(FastTool::new()))),
///     limit(timeout(boxed(FastTool::new()))),
/// ];
/// assert_eq!(stacks.len(), 2);
/// ```
pub fn boxed<S>(service: S) -> BoxTool
where
    S: Service<ToolCall, Response = ToolOutput> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError> + 'static,
    S::Future: Send + 'static,
{
    BoxTool::new(service.map_err(ToolError::from_error))
}
