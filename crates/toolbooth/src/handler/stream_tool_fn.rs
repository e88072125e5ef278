use std::fmt;
use std::future::{Ready, ready};
use std::marker::PhantomData;
use std::task::{Context, Poll};

use toolbooth_core::{Name, ToolCall, ToolError, ToolOutput};
use tower_service::Service;

use super::args::{self, ArgsPolicy};
use super::handle::StreamHandler;

/// Converts a function that returns a stream into a tool.
///
/// The function takes `(Args)` or `(CallContext, Args)`, and returns a stream of
/// `Result<Content, E>`. Arguments are deserialized as by [`tool_fn`](super::tool_fn).
///
/// ```
/// use serde_json::json;
/// use toolbooth::{Content, ToolCall, stream_tool_fn};
/// use tower::ServiceExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), toolbooth::ToolError> {
/// let count = stream_tool_fn("count", |to: u32| {
///     futures_util::stream::iter((1..=to).map(|n| Ok::<_, std::io::Error>(Content::from(n.to_string()))))
/// });
/// let counted = count.oneshot(ToolCall::new("count", json!(3))).await?;
/// assert_eq!(counted.collect().await?.text(), "123");
/// # Ok(()) }
/// ```
pub fn stream_tool_fn<M, F: StreamHandler<M>>(
    name: impl Into<Name>,
    handler: F,
) -> StreamToolFn<F, M> {
    StreamToolFn {
        name: name.into(),
        handler,
        policy: ArgsPolicy::default(),
        signature: PhantomData,
    }
}

/// A tool made of a function that returns a stream. Made by [`stream_tool_fn`].
pub struct StreamToolFn<F, M> {
    name: Name,
    handler: F,
    policy: ArgsPolicy,
    signature: PhantomData<fn() -> M>,
}

// === impl StreamToolFn ===

impl<F, M> StreamToolFn<F, M> {
    /// Returns the name of the tool.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Parses a text as JSON where the handler wants another type, as
    /// [`ToolFn::with_lenient_arguments`](super::ToolFn::with_lenient_arguments) does.
    #[must_use]
    pub const fn with_lenient_arguments(mut self) -> Self {
        self.policy.lenient = true;
        self
    }

    /// Rejects arguments if the handler takes none, as
    /// [`ToolFn::with_strict_arguments`](super::ToolFn::with_strict_arguments) does.
    #[must_use]
    pub const fn with_strict_arguments(mut self) -> Self {
        self.policy.strict = true;
        self
    }
}

impl<F: Clone, M> Clone for StreamToolFn<F, M> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            handler: self.handler.clone(),
            policy: self.policy,
            signature: PhantomData,
        }
    }
}

impl<F, M> fmt::Debug for StreamToolFn<F, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamToolFn")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl<F: StreamHandler<M>, M> Service<ToolCall> for StreamToolFn<F, M> {
    type Response = ToolOutput;
    type Error = ToolError;
    type Future = Ready<Result<ToolOutput, ToolError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: ToolCall) -> Self::Future {
        let (context, args) = call.into_parts();
        ready(match args::parse_with(args, self.policy) {
            Ok(args) => Ok(ToolOutput::stream(self.handler.handle(context, args))),
            Err(error) => {
                context.mark_not_started();
                Err(error)
            }
        })
    }
}
