use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use toolbooth_core::{IntoToolOutput, Name, ToolCall, ToolError, ToolOutput};
use tower_service::Service;

use super::args::{self, ArgsPolicy};
use super::handle::Handler;

/// Converts an async function into a tool.
///
/// The `name` is for logs and [`ToolFn::name`]. A toolbox calls the tool by the name of its
/// `ToolSpec`.
///
/// The function takes `(Args)` or `(CallContext, Args)`, and returns a `Result<T, E>`.
///
/// The arguments of the call are a JSON value, or a string of JSON. If they do not deserialize, the
/// call fails with `InvalidArguments`, which has the path, and the function is not called. A
/// string that the function returns becomes text, `()` no content, and any other value JSON.
///
/// A number with a zero fraction is an integer, as in JSON Schema: 30.0 fits a `u32`. This holds up
/// to 2^53. A function that takes `()` ignores arguments
/// ([`with_strict_arguments`](ToolFn::with_strict_arguments) rejects them). Models that quote
/// numbers or lists need [`with_lenient_arguments`](ToolFn::with_lenient_arguments).
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
///
/// # State
/// A closure that owns a handle clones it for each call, before the `async move` block. An `async
/// move` closure that uses the handle itself does not compile: it "does not implement `Fn`", since
/// its future would borrow from the closure.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use serde_json::json;
/// use toolbooth::{ToolCall, ToolError, tool_fn};
/// use tower::ServiceExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), ToolError> {
/// let visits = Arc::new(AtomicU64::new(0));
/// let visit = tool_fn("visit", move |number: u64| {
///     let visits = Arc::clone(&visits);
///     async move { Ok::<_, ToolError>(visits.fetch_add(number, Ordering::Relaxed) + number) }
/// });
/// let five = visit.clone().oneshot(ToolCall::new("visit", json!(5))).await?.collect().await?;
/// let seven = visit.oneshot(ToolCall::new("visit", json!(2))).await?.collect().await?;
/// assert_eq!((five.text(), seven.text()), ("5".to_owned(), "7".to_owned()));
/// # Ok(()) }
/// ```
///
/// # Tasks
/// A call is spawned as it is: `tokio::spawn(tool.oneshot(call))`. Inside of an `async move` block
/// that is spawned, a tool of a closure must not have the error type [`BoxError`]: rustc reports
/// that the "implementation of `From` is not general enough" ([rust-lang/rust#102211]). With
/// [`ToolError`], an error type of your own, or an `async fn` in place of the closure, it compiles.
///
/// ```
/// use serde_json::json;
/// use toolbooth::{BoxError, ToolCall, ToolError, tool_fn};
/// use tower::ServiceExt;
///
/// async fn named(_: ()) -> Result<&'static str, BoxError> {
///     Ok("named")
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// let closure = tool_fn("t", |_: ()| async { Ok::<_, ToolError>("closure") });
/// let (named, call) = (tool_fn("t", named), ToolCall::new("t", json!(null)));
/// tokio::spawn(async move {
///     closure.oneshot(call.clone()).await?;
///     named.oneshot(call).await
/// })
/// .await??;
/// # Ok(()) }
/// ```
///
/// [`BoxError`]: toolbooth_core::BoxError
/// [rust-lang/rust#102211]: https://github.com/rust-lang/rust/issues/102211
pub fn tool_fn<M, F: Handler<M>>(name: impl Into<Name>, handler: F) -> ToolFn<F, M> {
    ToolFn {
        name: name.into(),
        handler,
        policy: ArgsPolicy::default(),
        signature: PhantomData,
    }
}

/// A tool made of a function. Made by [`tool_fn`].
pub struct ToolFn<F, M> {
    name: Name,
    handler: F,
    policy: ArgsPolicy,
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

    /// Parses a text as JSON where the handler wants a number, a boolean, a list, a map, a struct
    /// or an enum. Off by default.
    ///
    /// Some models quote such values: `{"tags": "[\"a\"]"}`, `{"limit": "4"}`. A text stays as it
    /// is where text is wanted, and where any type is accepted: in a [`Value`](serde_json::Value),
    /// an untagged enum, a flattened struct. Arguments that do not fit after all are rejected with
    /// the error of what was sent.
    ///
    /// ```
    /// use serde_json::json;
    /// use toolbooth::{ToolCall, tool_fn};
    /// use tower::ServiceExt;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), toolbooth::ToolError> {
    /// let sum = tool_fn("sum", async |numbers: Vec<i64>| {
    ///     Ok::<_, std::io::Error>(numbers.iter().sum::<i64>())
    /// })
    /// .with_lenient_arguments();
    /// let six = sum.oneshot(ToolCall::new("sum", json!(["1", 2, "3"]))).await?;
    /// assert_eq!(six.collect().await?.text(), "6");
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub const fn with_lenient_arguments(mut self) -> Self {
        self.policy.lenient = true;
        self
    }

    /// Rejects arguments if the handler takes none. By default they are ignored, since some models
    /// send a placeholder to tools without parameters.
    ///
    /// This is about the types `()` and unit structs. A struct decides by serde's
    /// `deny_unknown_fields`.
    #[must_use]
    pub const fn with_strict_arguments(mut self) -> Self {
        self.policy.strict = true;
        self
    }
}

impl<F: Clone, M> Clone for ToolFn<F, M> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            handler: self.handler.clone(),
            policy: self.policy,
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
        let state = match args::parse_with(args, self.policy) {
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
