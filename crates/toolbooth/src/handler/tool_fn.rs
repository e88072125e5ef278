use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use toolbooth_core::{IntoToolOutput, Name, ToolCall, ToolError, ToolOutput};
use tower_service::Service;

use super::args;
use super::handle::Handler;

/// Converts an async function into a tool.
///
/// The function takes `(Args)` or `(CallContext, Args)`, and returns a `Result<T, E>`.
///
/// The arguments of the call are a JSON value, or a string of JSON. If they do not deserialize, the
/// call fails with `InvalidArguments`, which has the path, and the function is not called. A
/// string that the function returns becomes text; any other value is serialized to JSON.
///
/// ```
/// use serde::Deserialize;
/// use serde_json::json;
/// use toolbooth::{ToolCall, tool_fn};
/// use tower::ServiceExt;
///
/// #[derive(Deserialize)]
/// struct Add { a: i64, b: i64 }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let add = tool_fn("add", async |Add { a, b }| Ok::<_, std::io::Error>(a + b));
///
/// let sum = add.clone().oneshot(ToolCall::new("add", json!({ "a": 1, "b": 2 }))).await?;
/// assert_eq!(sum.collect().await?.contents(), [json!(3).into()]);
///
/// let wrong = add.oneshot(ToolCall::new("add", json!({ "a": 1, "b": "two" }))).await;
/// let wrong = wrong.err().ok_or("`b` is a text")?;
/// assert_eq!(wrong.to_string(), "invalid arguments at `b`: invalid type: string \"two\", expected i64");
/// # Ok(()) }
/// ```
pub fn tool_fn<M, F: Handler<M>>(name: impl Into<Name>, handler: F) -> ToolFn<F, M> {
    ToolFn {
        name: name.into(),
        handler,
        signature: PhantomData,
    }
}

/// A tool made of a function. Made by [`tool_fn`].
pub struct ToolFn<F, M> {
    name: Name,
    handler: F,
    signature: PhantomData<fn() -> M>,
}

pin_project! {
    /// The future of a call of a [`ToolFn`].
    #[must_use = "dropping it ends the call"]
    pub struct ResponseFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        Running { #[pin] future: F },
        Rejected { error: Option<ToolError> },
    }
}

// === impl ToolFn ===

impl<F, M> ToolFn<F, M> {
    /// Returns the name of the tool.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl<F: Clone, M> Clone for ToolFn<F, M> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            handler: self.handler.clone(),
            signature: PhantomData,
        }
    }
}

impl<F, M> fmt::Debug for ToolFn<F, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolFn")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl<F: Handler<M>, M> Service<ToolCall> for ToolFn<F, M> {
    type Response = ToolOutput;
    type Error = ToolError;
    type Future = ResponseFuture<F::Future>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: ToolCall) -> Self::Future {
        let (context, args) = call.into_parts();
        let state = match args::parse(args) {
            Ok(args) => State::Running {
                future: self.handler.handle(context, args),
            },
            Err(error) => {
                context.mark_not_started();
                State::Rejected { error: Some(error) }
            }
        };
        ResponseFuture { state }
    }
}

// === impl ResponseFuture ===

impl<F, T, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<T, E>>,
    T: IntoToolOutput,
    E: Into<toolbooth_core::BoxError> + 'static,
{
    type Output = Result<ToolOutput, ToolError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.project().state.project() {
            StateProj::Running { future } => match ready!(future.poll(cx)) {
                Ok(output) => output.into_tool_output(),
                Err(error) => Err(ToolError::from_error(error)),
            },
            StateProj::Rejected { error } => Err(error.take().expect("polled after it was done")),
        })
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
