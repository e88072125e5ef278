use crate::call::{CallContext, ToolCall};

/// A request that calls a tool: it names the tool, and carries the call's context.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a request for a tool",
    label = "this request names no tool and carries no `CallContext`",
    note = "call the stack with a `toolbooth::ToolCall<Args>`, or with an `http::Request` and the feature `http`",
    note = "or implement `toolbooth::ToolRequest` for `{Self}`, with a `CallContext` that a `Clone` forks"
)]
pub trait ToolRequest {
    /// The name of the tool.
    fn tool_name(&self) -> &str;

    /// The context of the call, made when it is first asked for.
    ///
    /// An `http::Request` has none before. Where what clones requests, such as tower's `Retry`, stands outside of all our layers,
    /// ask for it before: else each clone becomes a call of its own instead of an attempt of this one.
    fn context(&mut self) -> &CallContext;
}

impl<A> ToolRequest for ToolCall<A> {
    fn tool_name(&self) -> &str {
        self.name()
    }

    fn context(&mut self) -> &CallContext {
        Self::context(self)
    }
}
