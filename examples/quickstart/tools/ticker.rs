//! A child process that prints a line every 200 ms and would run for a minute: the limit cuts it.

use std::io;

use toolbooth::{CallContext, ToolCall, ToolError, ToolOutput, tool_fn};
use tower::Service;

use crate::child;
use crate::children::Children;
use crate::record::Record;

pub(crate) fn ticker(
    children: Children,
) -> impl Service<ToolCall, Response = ToolOutput, Error = ToolError, Future: Send> + Clone {
    tool_fn("ticker", move |call: CallContext, (): ()| {
        run(children.clone(), call)
    })
}

async fn run(children: Children, call: CallContext) -> io::Result<&'static str> {
    Record::started(&call);
    let mut child = children.start(&call, &[child::TICK])?;
    while let Some(line) = child.line().await? {
        call.emit(line);
    }
    child.finish().await?;
    Ok("a minute has passed")
}
