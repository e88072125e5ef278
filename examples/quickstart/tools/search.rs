//! Searches this repository in a child process, whose output is the response.

use toolbooth::{BoxError, ToolCall, ToolError, ToolOutput};
use tower::Service;

use crate::child;
use crate::children::{self, Children};

pub(crate) fn search(
    children: &Children,
) -> Result<
    impl Service<ToolCall, Response = ToolOutput, Error = ToolError, Future: Send>
    + Clone
    + Send
    + Sync
    + use<>,
    BoxError,
> {
    let tool = children
        .tool("search")?
        .with_args([child::SEARCH, "{pattern}"])?;
    Ok(children::recorded(tool))
}
