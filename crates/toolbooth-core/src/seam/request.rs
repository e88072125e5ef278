use std::any::{Any, TypeId};
use std::sync::Arc;

use serde_json::Value;

use crate::call::{CallContext, ToolCall, TraceContext};

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

    /// Returns the arguments, for events that have contents. `None` by default.
    ///
    /// A [`ToolCall`] whose arguments are a [`Value`] returns them, shared and not copied. Those
    /// of another type are not known, even if it serializes.
    fn arguments(&self) -> Option<Arc<Value>> {
        None
    }

    /// Returns the trace context that the request itself carries, besides the one in its
    /// [context](CallContext::extension). `None` by default.
    ///
    /// An `http::Request` has it in its headers `traceparent` and `tracestate`.
    fn trace_context(&self) -> Option<TraceContext> {
        None
    }

    /// Returns whether calling the tool twice has the same effect as calling it once, if known.
    ///
    /// The caller's [setting](CallContext::idempotent) takes precedence. Without one, a call is
    /// idempotent if a toolbox resolved its tool and the annotations of the tool state that. An
    /// `http::Request` is idempotent by its method ([RFC 9110, 9.2.2]): GET, HEAD, OPTIONS, TRACE,
    /// PUT and DELETE are. So is any request with the header `Idempotency-Key`, by which a server
    /// recognizes repetitions. Nothing is known of other requests.
    ///
    /// [RFC 9110, 9.2.2]: https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2
    fn idempotent(&mut self) -> Option<bool> {
        let context = self.context();
        let tool = || context.attempt_state().tool_is_idempotent().then_some(true);
        context.idempotent().or_else(tool)
    }
}

impl<A: 'static> ToolRequest for ToolCall<A> {
    fn tool_name(&self) -> &str {
        self.name()
    }

    fn context(&mut self) -> &CallContext {
        Self::context(self)
    }

    fn arguments(&self) -> Option<Arc<Value>> {
        // Checked first: other arguments are not moved to an allocation to share them.
        if TypeId::of::<A>() != TypeId::of::<Value>() {
            return None;
        }
        let args = self.shared_args();
        (&args as &dyn Any).downcast_ref::<Arc<Value>>().cloned()
    }
}
