//! What a call of a scripted tool does, as a list of steps.

mod streamed;

use std::future::pending;
use std::time::Duration;

use tokio::time::sleep;
use toolbooth_core::{BoxError, CallContext, Content, ToolCall, ToolError, ToolOutput};

use crate::scripted::scripted_panic;
use streamed::Streamed;

/// What one call of a [`ScriptedTool`](crate::ScriptedTool) does, step by step.
///
/// A script without a step returns an empty response at once. The first step that ends the call
/// ([`respond`](Self::respond), [`fail`](Self::fail), [`hang`](Self::hang),
/// [`panic`](Self::panic)) is the last that runs. [`stream`](Self::stream) returns a streaming
/// response, and the steps after it run in the stream.
///
/// ```
/// use toolbooth::{ErrorKind, PartialResultLayer, TimeoutLayer};
/// use toolbooth_test::{Script, ScriptedTool, call, call_all, ms};
/// use tower::ServiceBuilder;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tool = ScriptedTool::scripts([
///     Script::new().delay(ms(10)).emit("page 1").respond("1 page"),
///     Script::new().stream(["page 1"]).delay(ms(10)).emit("page 2").hang(),
/// ]);
/// let stack = ServiceBuilder::new()
///     .layer(TimeoutLayer::new(ms(100)))
///     .layer(PartialResultLayer::new())
///     .service(tool);
///
/// let finished = call_all(stack, [call("crawl"), call("crawl")]).await;
/// assert_eq!(finished[0].at, ms(10));
/// let response = finished[0].result.as_ref().ok().ok_or("it completes")?;
/// assert_eq!(response.text(), "1 page");
///
/// let expired = finished[1].result.as_ref().err().ok_or("the stream hangs")?;
/// assert_eq!(expired.kind(), ErrorKind::Timeout);
/// let partial = expired.partial().ok_or("two items")?;
/// assert_eq!(partial.contents(), ["page 1".into(), "page 2".into()]);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "a script is run by a `ScriptedTool`"]
pub struct Script(Vec<Step>);

#[derive(Debug, Clone)]
enum Step {
    Delay(Duration),
    Emit(Content),
    Snapshot(Content),
    Heartbeat,
    Stream,
    Respond(Content),
    Fail(ToolError),
    Hang,
    Panic(String),
}

// === impl Script ===

impl Script {
    /// Creates a script without steps.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Waits for the time `delay`, on tokio's clock.
    pub fn delay(self, delay: Duration) -> Self {
        self.then(Step::Delay(delay))
    }

    /// Emits a content through the context of the call. In a stream it is the next item.
    pub fn emit(self, content: impl Into<Content>) -> Self {
        self.then(Step::Emit(content.into()))
    }

    /// Publishes a snapshot through the context of the call.
    pub fn snapshot(self, content: impl Into<Content>) -> Self {
        self.then(Step::Snapshot(content.into()))
    }

    /// Reports activity through the context of the call.
    pub fn heartbeat(self) -> Self {
        self.then(Step::Heartbeat)
    }

    /// Returns a streaming response that begins with these items, at once.
    ///
    /// The steps after it run in the stream, when the consumer polls it. The stream ends after the
    /// last step.
    pub fn stream<C: Into<Content>>(self, items: impl IntoIterator<Item = C>) -> Self {
        let items = items.into_iter();
        items.fold(self.then(Step::Stream), Self::emit)
    }

    /// Returns `content` as the whole response. In a stream it is the last item.
    pub fn respond(self, content: impl Into<Content>) -> Self {
        self.then(Step::Respond(content.into()))
    }

    /// Fails with an error. For a response that reports a failure, use `ScriptedTool::new` and
    /// [`ToolOutput::error`]. A [`ToolError`] is returned unchanged, any other is its source.
    pub fn fail(self, error: impl Into<BoxError>) -> Self {
        self.then(Step::Fail(ToolError::from_error(error.into())))
    }

    /// Never completes.
    pub fn hang(self) -> Self {
        self.then(Step::Hang)
    }

    /// Panics with the text `message`.
    pub fn panic(self, message: impl Into<String>) -> Self {
        self.then(Step::Panic(message.into()))
    }

    fn then(mut self, step: Step) -> Self {
        self.0.push(step);
        self
    }

    pub(crate) async fn run(self, call: ToolCall) -> Result<ToolOutput, BoxError> {
        let mut steps = self.0.into_iter();
        while let Some(step) = steps.next() {
            match step {
                Step::Delay(delay) => sleep(delay).await,
                Step::Emit(content) => call.context().emit(content),
                Step::Snapshot(content) => call.context().snapshot(content),
                Step::Heartbeat => call.context().heartbeat(),
                Step::Stream => {
                    let context: CallContext = call.context().clone();
                    return Ok(ToolOutput::stream(Streamed::new(context, steps)));
                }
                Step::Respond(content) => return Ok(content.into()),
                Step::Fail(error) => return Err(error.into()),
                Step::Hang => pending().await,
                Step::Panic(message) => scripted_panic(message),
            }
        }
        Ok(ToolOutput::contents(Vec::new()))
    }
}
