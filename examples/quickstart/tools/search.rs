//! A text search over this repository by a child process, its lines emitted as they come.

use std::io;

use serde::Deserialize;
use toolbooth::{CallContext, ToolCall, ToolError, ToolOutput, tool_fn};
use tower::Service;

use crate::child;
use crate::children::Children;
use crate::record::Record;

#[derive(Deserialize)]
struct Args {
    pattern: String,
}

pub(crate) fn search(
    children: Children,
) -> impl Service<ToolCall, Response = ToolOutput, Error = ToolError, Future: Send> + Clone {
    tool_fn("search", move |call: CallContext, args: Args| {
        run(children.clone(), call, args)
    })
}

async fn run(children: Children, call: CallContext, args: Args) -> io::Result<String> {
    Record::started(&call);
    let mut child = children.start(&call, &[child::SEARCH, &args.pattern])?;
    let mut matches = 0_usize;
    while let Some(line) = child.line().await? {
        call.emit(line);
        matches += 1;
    }
    child.finish().await?;
    Ok(format!("{matches} matches"))
}
