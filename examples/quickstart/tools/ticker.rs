//! A child process that prints a line every 200 ms for a minute. The call times out before.

use toolbooth::{BoxError, CommandOutput, ToolCall, ToolError, ToolOutput};
use tower::Service;

use crate::child;
use crate::children::{self, Children};

pub(crate) fn ticker(
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
        .tool("ticker")?
        .with_arg(child::TICK)?
        .with_output(CommandOutput::Lines);
    Ok(children::recorded(tool))
}
