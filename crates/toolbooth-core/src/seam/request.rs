use crate::call::{CallContext, ToolCall};

/// A request that calls a tool: it has the name of the tool and the context of the call.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a request for a tool",
    label = "this request names no tool and carries no `CallContext`",
    note = "call the stack with a `toolbooth::ToolCall<Args>`, \
        or with an `http::Request` and the feature `http`",
    note = "or implement `toolbooth::ToolRequest` for `{Self}`, \
        with a `CallContext` that a `Clone` forks"
)]
pub trait ToolRequest {
    /// Returns the name of the tool.
    fn tool_name(&self) -> &str;

    /// Returns the context of the call, which the first use creates.
    ///
    /// An `http::Request` has no context before. If a service that clones requests, such as tower's
    /// `Retry`, is outside of all layers of toolbooth, call this method before. Otherwise each
    /// clone becomes a call of its own instead of an attempt of this one.
    fn context(&mut self) -> &CallContext;

    /// Returns the head of a request of HTTP. `None` for other requests: the default.
    #[cfg(feature = "http")]
    fn http_head(&self) -> Option<super::RequestHead<'_>> {
        None
    }
}

impl<A> ToolRequest for ToolCall<A> {
    fn tool_name(&self) -> &str {
        self.name()
    }

    fn context(&mut self) -> &CallContext {
        Self::context(self)
    }
}
