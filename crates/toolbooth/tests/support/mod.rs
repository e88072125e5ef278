//! Helpers of the poll-level tests: calls, mocks, streams, and the laws of every layer.

#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    clippy::unused_async,
    reason = "each test target uses a part of this module"
)]

pub(crate) mod events;
pub(crate) mod laws;
pub(crate) mod limits;

use std::time::Duration;

use futures_util::{Stream, StreamExt};
use toolbooth::{BoxError, Content, ContentStream, TimeoutScope, ToolCall, ToolError, ToolOutput};
pub(crate) use toolbooth_test::{
    Finished, Outcomes, Probe, Readiness, Recorder, ScriptedTool, ToolLog, WakeCounter, call_all,
    ms,
};
use tower::{Service, ServiceExt};

pub(crate) type Mock = tower_test::mock::Mock<ToolCall, ToolOutput>;
pub(crate) type Handle = tower_test::mock::Handle<ToolCall, ToolOutput>;
pub(crate) type Response = Result<ToolOutput, ToolError>;

/// A call of `tool` without arguments.
pub(crate) fn call() -> ToolCall {
    toolbooth_test::call("tool")
}

/// A layer around a mock, and the handle of the mock.
pub(crate) fn mock<L: tower::Layer<Mock>>(layer: &L) -> (L::Service, Handle) {
    let (mock, handle) = tower_test::mock::pair();
    (layer.layer(mock), handle)
}

/// Responds to the next request of a mock.
pub(crate) async fn respond(handle: &mut Handle, output: ToolOutput) {
    let (_, response) = handle.next_request().await.expect("a request");
    response.send_response(output);
}

/// Lets tasks reach their timers, advances the clock, and runs the tasks whose timers fired.
pub(crate) async fn pass(time: Duration) {
    tokio::task::yield_now().await;
    tokio::time::advance(time).await;
    tokio::task::yield_now().await;
}

/// A runtime without a time driver: creating a timer panics.
pub(crate) fn runtime_without_time() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
}

// === what calls return ===

/// Makes a call that must succeed, and collects its text.
pub(crate) async fn text_of<S>(service: S, call: ToolCall) -> String
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError>,
{
    text(service.oneshot(call).await).await
}

/// Makes a call that must fail.
pub(crate) async fn error_of<S>(service: S, call: ToolCall) -> ToolError
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError>,
{
    error(service.oneshot(call).await)
}

/// Makes a call that must return a response, and streams it.
pub(crate) async fn stream_of<S>(service: S, call: ToolCall) -> ContentStream
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError>,
{
    let response = service.oneshot(call).await;
    response.expect("a response").into_stream()
}

/// The text of a response, collected.
pub(crate) async fn text(response: Response) -> String {
    let collected = response.expect("a response").collect().await;
    collected.expect("a complete response").text()
}

/// The error of a call that must have failed.
pub(crate) fn error(response: Response) -> ToolError {
    response.expect_err("an error")
}

/// The texts of contents, in order.
pub(crate) fn texts<'a>(contents: impl IntoIterator<Item = &'a Content>) -> Vec<&'a str> {
    contents.into_iter().filter_map(Content::as_text).collect()
}

/// The scope of a timeout, its limit and the time that had passed, in milliseconds.
pub(crate) fn timeout(error: &ToolError) -> (TimeoutScope, u128, u128) {
    let ToolError::Timeout {
        scope,
        limit,
        elapsed,
        ..
    } = error
    else {
        unreachable!("not a timeout: {error:?}")
    };
    (*scope, limit.as_millis(), elapsed.as_millis())
}

/// The texts of the kept items, and how many items were dropped and delivered.
pub(crate) fn kept(error: &ToolError) -> (Vec<&str>, u64, u64) {
    let partial = error.partial().expect("a partial result");
    let (dropped, delivered) = (partial.dropped(), partial.delivered());
    (texts(partial.contents()), dropped, delivered)
}

/// The text of a caught panic.
pub(crate) fn panic_text<T>(result: std::thread::Result<T>) -> &'static str {
    let panic = result.err().expect("a panic");
    panic.downcast_ref::<&str>().expect("a text")
}

/// Runs `f` when dropped.
pub(crate) fn on_drop<F: FnMut()>(f: F) -> impl Drop {
    struct OnDrop<F: FnMut()>(F);
    impl<F: FnMut()> Drop for OnDrop<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    OnDrop(f)
}

// === streams ===

/// The next item of a stream: its text or its error.
pub(crate) async fn next(stream: &mut ContentStream) -> Option<Result<String, ToolError>> {
    let item = stream.next().await?;
    Some(item.map(|content| content.as_text().expect("a text").to_owned()))
}

/// The next item of a stream, which must be a text.
pub(crate) async fn next_text(stream: &mut ContentStream) -> String {
    next(stream).await.expect("an item").expect("a text")
}

/// The rest of a stream: its texts, and the error that ended it. Nothing follows the end.
pub(crate) async fn rest(stream: &mut ContentStream) -> (Vec<String>, Option<ToolError>) {
    let (mut texts, mut error) = (Vec::new(), None);
    while let Some(item) = next(stream).await {
        assert!(error.is_none(), "an item after the error: {item:?}");
        match item {
            Ok(text) => texts.push(text),
            Err(last) => error = Some(last),
        }
    }
    assert!(next(stream).await.is_none());
    (texts, error)
}

/// A streaming response that is inside `probe` until it is dropped.
pub(crate) fn streaming<S, E>(probe: &Probe, stream: S) -> ToolOutput
where
    S: Stream<Item = Result<Content, E>> + Send + 'static,
    E: Into<BoxError> + 'static,
{
    let inside = probe.enter();
    ToolOutput::stream(stream.map(move |item| {
        let _inside = &inside;
        item.map_err(Into::into)
    }))
}

/// A streaming response of these texts, the first at once and the others `every` apart.
pub(crate) fn ticking(
    probe: &Probe,
    every: Duration,
    texts: impl IntoIterator<Item = &'static str, IntoIter: Send + 'static>,
) -> ToolOutput {
    let items = futures_util::stream::iter(texts).enumerate();
    let items = items.then(move |(at, text)| async move {
        if at > 0 {
            tokio::time::sleep(every).await;
        }
        Ok::<_, BoxError>(Content::from(text))
    });
    streaming(probe, items)
}

/// A tool that returns the streaming response that `response` builds around its probe.
pub(crate) fn streams<F>(response: F) -> (ScriptedTool, Probe)
where
    F: Fn(&Probe) -> ToolOutput + Send + Sync + 'static,
{
    let probe = Probe::new();
    let inside = probe.clone();
    let tool = ScriptedTool::new(move |_| std::future::ready(Ok(response(&inside))));
    (tool, probe)
}

/// A tool that runs for this time and returns `done`.
pub(crate) fn takes(time: Duration) -> ScriptedTool {
    ScriptedTool::new(move |_| async move {
        tokio::time::sleep(time).await;
        Ok(ToolOutput::text("done"))
    })
}

/// A tool that fails with this error.
pub(crate) fn fails(error: impl Into<BoxError> + Clone + Send + Sync + 'static) -> ScriptedTool {
    ScriptedTool::new(move |_| std::future::ready(Err(error.clone().into())))
}
