//! What the poll-level tests stand on: a scripted tool, drop counters, wakers that count, hooks that tell.

#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    clippy::unused_async,
    reason = "each test binary uses its share of this"
)]
#![expect(clippy::panic, reason = "probes panic where they are told to")]

pub(crate) mod laws;

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use toolbooth::{
    BoxError, CallContext, Content, ContentStream, Outcome, ToolCall, ToolError, ToolOutput,
};
use tower::Service;

pub(crate) type Mock = tower_test::mock::Mock<ToolCall, ToolOutput>;
pub(crate) type Handle = tower_test::mock::Handle<ToolCall, ToolOutput>;
pub(crate) type Reply = Result<ToolOutput, ToolError>;
type Work = Pin<Box<dyn Future<Output = Result<ToolOutput, BoxError>> + Send>>;

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Lets tasks get to their timers, moves the clock, and lets those run whose time has come.
pub(crate) async fn pass(time: Duration) {
    tokio::task::yield_now().await;
    tokio::time::advance(time).await;
    tokio::task::yield_now().await;
}

pub(crate) fn call() -> ToolCall {
    ToolCall::new("tool", json!(null))
}

/// A mock around which a layer is put.
pub(crate) fn mock<L: tower::Layer<Mock>>(layer: &L) -> (L::Service, Handle) {
    let (mock, handle) = tower_test::mock::pair();
    (layer.layer(mock), handle)
}

/// The text of an answer that is there as a whole.
pub(crate) async fn text(answer: Reply) -> String {
    let collected = answer.expect("an answer").collect().await;
    collected.expect("a whole answer").text()
}

/// The error of a call that failed.
pub(crate) fn error(answer: Reply) -> ToolError {
    answer.expect_err("an error")
}

/// The texts of a partial result, in order.
pub(crate) fn texts<'a>(contents: impl IntoIterator<Item = &'a Content>) -> Vec<&'a str> {
    contents.into_iter().filter_map(Content::as_text).collect()
}

/// The next piece of a streamed answer: its text, or its error.
pub(crate) async fn next(stream: &mut ContentStream) -> Option<Result<String, ToolError>> {
    let piece = stream.next().await?;
    Some(piece.map(|content| content.as_text().expect("a text").to_owned()))
}

// === hooks that tell ===

/// The outcomes that a hook is told: the hook holds the only sender.
pub(crate) struct Told(UnboundedReceiver<(Outcome, usize)>);

/// Registers a hook that tells the outcome, and how many contents were kept.
pub(crate) fn told(context: &CallContext) -> Told {
    let (tell, told) = unbounded_channel();
    context.on_cleanup_with(move |end| async move {
        let contents = end.partial().map_or(0, |partial| partial.contents().len());
        tell.send((end.outcome(), contents)).expect("listened to");
    });
    Told(told)
}

impl Told {
    /// Everything that the hook was told until it was gone.
    pub(crate) async fn outcomes(self) -> Vec<Outcome> {
        let ends = self.ends().await;
        ends.into_iter().map(|(outcome, _)| outcome).collect()
    }

    /// As [`outcomes`](Self::outcomes), each with the number of contents that were kept.
    pub(crate) async fn ends(mut self) -> Vec<(Outcome, usize)> {
        let mut ends = Vec::new();
        let all = async {
            while let Some(end) = self.0.recv().await {
                ends.push(end);
            }
        };
        let gone = tokio::time::timeout(Duration::from_secs(3_600), all).await;
        gone.expect("the hook neither ran nor was dropped");
        ends
    }

    /// Whether the hook has neither run nor been dropped.
    pub(crate) fn is_held(&mut self) -> bool {
        self.0.try_recv() == Err(tokio::sync::mpsc::error::TryRecvError::Empty)
    }
}

// === counters ===

/// Counts what happens to something.
#[derive(Debug, Clone, Default)]
pub(crate) struct Count(Arc<AtomicUsize>);

impl Count {
    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn sub(&self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }

    /// Something that adds one when it is dropped.
    pub(crate) fn on_drop(&self) -> OnDrop {
        OnDrop(self.clone())
    }

    /// A waker that adds one when it is woken.
    pub(crate) fn waker(&self) -> Waker {
        Waker::from(Arc::new(Waking(self.clone())))
    }
}

#[derive(Debug)]
pub(crate) struct OnDrop(Count);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.add();
    }
}

struct Waking(Count);

impl Wake for Waking {
    fn wake(self: Arc<Self>) {
        self.0.add();
    }
}

// === streams ===

/// A stream or a future that says when it is dropped, which is not when it ends.
pub(crate) struct Tracked<T: ?Sized> {
    inner: Pin<Box<T>>,
    _dropped: OnDrop,
}

impl<S: Stream> Stream for Tracked<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.inner.as_mut().poll_next(cx)
    }
}

impl<F: Future + ?Sized> Future for Tracked<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.inner.as_mut().poll(cx)
    }
}

/// A streamed answer of these texts, `every` apart, the first one at once; then it ends.
pub(crate) fn ticking(
    dropped: &Count,
    every: Duration,
    texts: impl IntoIterator<Item = &'static str, IntoIter: Send + 'static>,
) -> ToolOutput {
    let pieces = futures_util::stream::iter(texts)
        .enumerate()
        .then(move |(at, text)| async move {
            if at > 0 {
                tokio::time::sleep(every).await;
            }
            Ok::<_, BoxError>(Content::from(text))
        });
    tracked(dropped, pieces)
}

/// A streamed answer that says when it is dropped.
pub(crate) fn tracked<S>(dropped: &Count, stream: S) -> ToolOutput
where
    S: Stream<Item = Result<Content, BoxError>> + Send + 'static,
{
    ToolOutput::stream(Tracked {
        inner: Box::pin(stream),
        _dropped: dropped.on_drop(),
    })
}

// === a scripted tool ===

/// A tool of which each clone has a number, and which says what was done with it.
pub(crate) struct Probe {
    instance: usize,
    shared: Arc<Shared>,
}

struct Shared {
    work: Box<dyn Fn(ToolCall) -> Work + Send + Sync>,
    state: Mutex<State>,
    dropped: Count,
}

#[derive(Default)]
struct State {
    readiness: Readiness,
    log: Log,
    wakers: Vec<Waker>,
}

/// What `poll_ready` of a probe does.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Readiness {
    #[default]
    Ready,
    Pending,
    Fails,
    Panics,
}

/// What was done with a probe, by the numbers of its clones; the first one has 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Log {
    pub(crate) clones: usize,
    pub(crate) ready_polls: Vec<usize>,
    pub(crate) calls: Vec<usize>,
}

impl Probe {
    pub(crate) fn new<F, Fut>(work: F) -> Self
    where
        F: Fn(ToolCall) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<ToolOutput, BoxError>> + Send + 'static,
    {
        Self {
            instance: 0,
            shared: Arc::new(Shared {
                work: Box::new(move |call| Box::pin(work(call))),
                state: Mutex::default(),
                dropped: Count::default(),
            }),
        }
    }

    /// Answers `done` at the first poll.
    pub(crate) fn ready() -> Self {
        Self::new(async |_| Ok(ToolOutput::text("done")))
    }

    /// Never answers.
    pub(crate) fn stuck() -> Self {
        Self::new(|_| std::future::pending())
    }

    /// Panics where a call is made.
    pub(crate) fn panics_in_call() -> Self {
        Self::new(|_| -> std::future::Pending<_> { panic!("in call") })
    }

    /// Panics where the work is polled.
    pub(crate) fn panics_in_work() -> Self {
        Self::new(async |_| panic!("in the work"))
    }

    /// Another view of the same probe, which is no clone of it.
    pub(crate) fn view(&self) -> Self {
        Self {
            instance: usize::MAX,
            shared: Arc::clone(&self.shared),
        }
    }

    pub(crate) fn with(self, readiness: Readiness) -> Self {
        self.set(readiness);
        self
    }

    pub(crate) fn set(&self, readiness: Readiness) {
        let wakers = {
            let mut state = self.shared.state.lock().expect("no panic under it");
            state.readiness = readiness;
            std::mem::take(&mut state.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn log(&self) -> Log {
        let state = self.shared.state.lock().expect("no panic under it");
        state.log.clone()
    }

    /// How many of its futures were dropped.
    pub(crate) fn dropped(&self) -> usize {
        self.shared.dropped.get()
    }
}

impl Clone for Probe {
    fn clone(&self) -> Self {
        let mut state = self.shared.state.lock().expect("no panic under it");
        state.log.clones += 1;
        Self {
            instance: state.log.clones,
            shared: Arc::clone(&self.shared),
        }
    }
}

impl Service<ToolCall> for Probe {
    type Response = ToolOutput;
    type Error = BoxError;
    type Future = Tracked<dyn Future<Output = Result<ToolOutput, BoxError>> + Send>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let readiness = {
            let mut state = self.shared.state.lock().expect("no panic under it");
            state.log.ready_polls.push(self.instance);
            state.wakers.push(cx.waker().clone());
            state.readiness
        };
        match readiness {
            Readiness::Ready => Poll::Ready(Ok(())),
            Readiness::Pending => Poll::Pending,
            Readiness::Fails => Poll::Ready(Err("not to be ready".into())),
            Readiness::Panics => panic!("in poll_ready"),
        }
    }

    fn call(&mut self, call: ToolCall) -> Self::Future {
        {
            let mut state = self.shared.state.lock().expect("no panic under it");
            state.log.calls.push(self.instance);
        }
        Tracked {
            inner: (self.shared.work)(call),
            _dropped: self.shared.dropped.on_drop(),
        }
    }
}
