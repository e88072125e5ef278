use futures_core::Stream;
use serde::de::DeserializeOwned;
use toolbooth_core::{BoxError, CallContext, Content, IntoToolOutput};

/// A function that [`tool_fn`](super::tool_fn) converts into a tool: `async fn(Args)` or
/// `async fn(CallContext, Args)`.
///
/// `M` distinguishes the two signatures and is inferred.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the handler of a tool",
    label = "not a handler",
    note = "a handler is `async (Args) -> Result<T, E>` or \
        `async (CallContext, Args) -> Result<T, E>`",
    note = "with `Args: serde::de::DeserializeOwned`, `T: serde::Serialize` or `ToolOutput`, and \
        `E: Into<BoxError>`",
    note = "a tool without arguments takes `()`: `async |_: ()| ..`",
    note = "a closure with state clones it for each call: \
        `move |args: Args| {{ let db = db.clone(); async move {{ .. }} }}`"
)]
pub trait Handler<M> {
    /// The arguments.
    type Args: DeserializeOwned;
    /// The response.
    type Output: IntoToolOutput;
    /// The error.
    type Error: Into<BoxError> + 'static;
    /// The future of a call.
    type Future: Future<Output = Result<Self::Output, Self::Error>>;

    /// Handles one call.
    fn handle(&self, context: CallContext, args: Self::Args) -> Self::Future;
}

/// A function that [`stream_tool_fn`](super::stream_tool_fn) converts into a tool: `fn(Args)` or
/// `fn(CallContext, Args)`. It returns a stream of contents.
///
/// `M` distinguishes the two signatures and is inferred.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the handler of a streaming tool",
    label = "not a handler",
    note = "a handler is `(Args) -> impl Stream<Item = Result<Content, E>>`, or the same of \
        `(CallContext, Args)`",
    note = "with `Args: serde::de::DeserializeOwned` and `E: Into<BoxError>`"
)]
pub trait StreamHandler<M> {
    /// The arguments.
    type Args: DeserializeOwned;
    /// The error.
    type Error: Into<BoxError> + 'static;
    /// The stream of items.
    type Stream: Stream<Item = Result<Content, Self::Error>> + Send + 'static;

    /// Handles one call.
    fn handle(&self, context: CallContext, args: Self::Args) -> Self::Stream;
}

// === impl Handler ===

impl<F, A, Fut, T, E> Handler<(A,)> for F
where
    F: Fn(A) -> Fut,
    A: DeserializeOwned,
    Fut: Future<Output = Result<T, E>>,
    T: IntoToolOutput,
    E: Into<BoxError> + 'static,
{
    type Args = A;
    type Output = T;
    type Error = E;
    type Future = Fut;

    fn handle(&self, _: CallContext, args: A) -> Fut {
        self(args)
    }
}

impl<F, A, Fut, T, E> Handler<(CallContext, A)> for F
where
    F: Fn(CallContext, A) -> Fut,
    A: DeserializeOwned,
    Fut: Future<Output = Result<T, E>>,
    T: IntoToolOutput,
    E: Into<BoxError> + 'static,
{
    type Args = A;
    type Output = T;
    type Error = E;
    type Future = Fut;

    fn handle(&self, context: CallContext, args: A) -> Fut {
        self(context, args)
    }
}

// === impl StreamHandler ===

impl<F, A, S, E> StreamHandler<(A,)> for F
where
    F: Fn(A) -> S,
    A: DeserializeOwned,
    S: Stream<Item = Result<Content, E>> + Send + 'static,
    E: Into<BoxError> + 'static,
{
    type Args = A;
    type Error = E;
    type Stream = S;

    fn handle(&self, _: CallContext, args: A) -> S {
        self(args)
    }
}

impl<F, A, S, E> StreamHandler<(CallContext, A)> for F
where
    F: Fn(CallContext, A) -> S,
    A: DeserializeOwned,
    S: Stream<Item = Result<Content, E>> + Send + 'static,
    E: Into<BoxError> + 'static,
{
    type Args = A;
    type Error = E;
    type Stream = S;

    fn handle(&self, context: CallContext, args: A) -> S {
        self(context, args)
    }
}
