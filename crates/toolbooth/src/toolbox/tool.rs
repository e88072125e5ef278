//! Tools of any type behind one type.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;
use toolbooth_core::{BoxError, ToolCall, ToolError, ToolOutput};
use tower_service::Service;

/// A service that can be a tool in a toolbox: it takes a [`ToolCall`] and returns a
/// [`ToolOutput`], and can be cloned and shared between threads.
///
/// It is implemented for every such service: tools made by `tool_fn`, programs, and stacks of
/// layers around them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a tool in a toolbox",
    note = "a tool is a `Service<ToolCall, Response = ToolOutput>` whose error converts into \
        `BoxError` and whose future is `Send`",
    note = "the service itself is `Clone + Send + Sync + 'static`"
)]
pub trait Tool:
    Service<
        ToolCall,
        Response = ToolOutput,
        Error: Into<BoxError> + 'static,
        Future: Send + 'static,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Tool for S where
    S: Service<
            ToolCall,
            Response = ToolOutput,
            Error: Into<BoxError> + 'static,
            Future: Send + 'static,
        > + Clone
        + Send
        + Sync
        + 'static
{
}

/// The future of a call of a [`ToolService`].
pub type ToolFuture = Pin<Box<dyn Future<Output = Result<ToolOutput, ToolError>> + Send>>;

/// A tool with its type erased.
///
/// Each call clones the service, and allocates its future. A clone of this type is another handle
/// to the same service.
#[derive(Clone)]
pub struct ToolService(Arc<dyn AnyTool>);

trait AnyTool: Send + Sync {
    fn call(&self, call: ToolCall) -> ToolFuture;
}

struct Erased<S>(S);

pin_project! {
    /// The future of a tool whose error is a [`ToolError`].
    struct Running<F> {
        #[pin]
        future: F,
    }
}

// === impl ToolService ===

impl ToolService {
    /// Erases the type of a tool.
    #[must_use]
    pub fn new<S: Tool>(tool: S) -> Self {
        Self(Arc::new(Erased(tool)))
    }
}

impl Service<ToolCall> for ToolService {
    type Response = ToolOutput;
    type Error = ToolError;
    type Future = ToolFuture;

    /// Always ready: the readiness of the tool is polled inside of the call's future.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, call: ToolCall) -> ToolFuture {
        self.0.call(call)
    }
}

impl fmt::Debug for ToolService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolService").finish_non_exhaustive()
    }
}

// === impl Erased ===

impl<S: Tool> AnyTool for Erased<S> {
    fn call(&self, call: ToolCall) -> ToolFuture {
        let mut service = self.0.clone();
        let ready = service.poll_ready(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(Ok(())) = ready {
            return Box::pin(Running {
                future: service.call(call),
            });
        }
        call.context().set_unready(true);
        match ready {
            Poll::Ready(Err(error)) => {
                let error = ToolError::from_error(error);
                Box::pin(std::future::ready(Err(error)))
            }
            _ => Box::pin(when_ready(service, call)),
        }
    }
}

/// Calls the tool when it is ready, unless the call was cancelled by then.
async fn when_ready<S: Tool>(mut service: S, call: ToolCall) -> Result<ToolOutput, ToolError> {
    let ready = poll_fn(|cx| service.poll_ready(cx)).await;
    ready.map_err(ToolError::from_error)?;
    if let Some(reason) = call.context().cancel_reason() {
        call.context().mark_not_started();
        return Err(ToolError::cancelled(reason));
    }
    let context = call.context().clone();
    context.set_unready(false);
    let future = service.call(call);
    context.report_started();
    future.await.map_err(ToolError::from_error)
}

// === impl Running ===

impl<F, E> Future for Running<F>
where
    F: Future<Output = Result<ToolOutput, E>>,
    E: Into<BoxError> + 'static,
{
    type Output = Result<ToolOutput, ToolError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = self.project().future.poll(cx);
        polled.map_err(ToolError::from_error)
    }
}
