use std::any::Any;
use std::fmt;
use std::future::{Pending, pending};
use std::panic::panic_any;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use toolbooth_core::{BoxError, ToolCall, ToolOutput};
use tower_service::Service;

use crate::probe::{Inside, Probe};
use crate::script::Script;
use crate::sync::lock;

type Work = Pin<Box<dyn Future<Output = Result<ToolOutput, BoxError>> + Send>>;

/// A tool whose readiness and work the test controls, and which logs what each clone does.
///
/// Its work is a function, or a [`Script`] for each call. The log shows what a layer does with its
/// inner service: which instance it polls for readiness, which it calls, how often it clones, and
/// when it drops the future of a call.
///
/// ```
/// use toolbooth_test::{Script, ScriptedTool, call, call_all, ms};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let up = Script::new().delay(ms(10)).respond("42 rows");
/// let tool = ScriptedTool::scripts([Script::new().fail("down"), up]);
/// let finished = call_all(tool, [call("db"), call("db"), call("db")]).await;
/// let ok: Vec<_> = finished.iter().map(|call| (call.is_ok(), call.at)).collect();
/// assert_eq!(ok, [(false, ms(0)), (true, ms(10)), (true, ms(10))]);
/// # }
/// ```
///
/// The test sets when it is ready:
///
/// ```
/// use toolbooth::TimeoutLayer;
/// use toolbooth_test::{Readiness, ScriptedTool, call, ms};
/// use tower::{Layer, Service};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let tool = ScriptedTool::ready().with_readiness(Readiness::Pending);
/// let mut stack = TimeoutLayer::new(ms(300)).layer(tool.handle());
/// assert!(stack.call(call("tool")).await.is_err());
/// assert!(tool.log().calls.is_empty());
///
/// tool.set_readiness(Readiness::Ready);
/// assert!(stack.call(call("tool")).await.is_ok());
/// assert_eq!((tool.probe().started(), tool.probe().finished()), (1, 1));
/// # }
/// ```
pub struct ScriptedTool {
    instance: usize,
    shared: Arc<Shared>,
}

struct Shared {
    work: Box<dyn Fn(ToolCall) -> Work + Send + Sync>,
    state: Mutex<State>,
    probe: Probe,
}

#[derive(Default)]
struct State {
    readiness: Readiness,
    log: ToolLog,
    wakers: Vec<Waker>,
}

/// What `poll_ready` of a [`ScriptedTool`] returns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Readiness {
    /// Ready: the default.
    #[default]
    Ready,
    /// Pending, until [`ScriptedTool::set_readiness`] wakes the task.
    Pending,
    /// The error `not ready`.
    Fails,
    /// Nothing: it panics with `in poll_ready`.
    Panics,
}

/// What was done with a [`ScriptedTool`], by the numbers of its clones.
///
/// The instance that was constructed has the number 0, the n-th clone has the number n, and a
/// [handle](ScriptedTool::handle) has the number `usize::MAX`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ToolLog {
    /// How many clones were made.
    pub clones: usize,
    /// The instance of each `poll_ready`, in order.
    pub ready_polls: Vec<usize>,
    /// The instance of each `call`, in order.
    pub calls: Vec<usize>,
}

/// The future of a call to a [`ScriptedTool`].
#[must_use = "futures do nothing unless polled"]
pub struct ScriptedFuture {
    work: Work,
    _inside: Inside,
}

// === impl ScriptedTool ===

impl ScriptedTool {
    /// Creates a tool whose calls run `work`.
    pub fn new<F, Fut>(work: F) -> Self
    where
        F: Fn(ToolCall) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<ToolOutput, BoxError>> + Send + 'static,
    {
        Self {
            instance: 0,
            shared: Arc::new(Shared {
                work: Box::new(move |call| Box::pin(work(call))),
                state: Mutex::default(),
                probe: Probe::new(),
            }),
        }
    }

    /// Creates a tool whose calls run this script.
    #[must_use]
    pub fn script(script: Script) -> Self {
        Self::scripts([script])
    }

    /// Creates a tool whose n-th call runs the n-th script. Later calls run the last one.
    ///
    /// Without a script each call returns an empty response.
    #[must_use]
    pub fn scripts(scripts: impl IntoIterator<Item = Script>) -> Self {
        let scripts: Vec<_> = scripts.into_iter().collect();
        let next = AtomicUsize::new(0);
        Self::new(move |call| {
            let script = scripts.get(next.fetch_add(1, Ordering::Relaxed));
            let script = script.or(scripts.last()).cloned();
            script.unwrap_or_default().run(call)
        })
    }

    /// Creates a tool that returns the text `done` at the first poll.
    #[must_use]
    pub fn ready() -> Self {
        Self::new(async |_| Ok(ToolOutput::text("done")))
    }

    /// Creates a tool whose calls never complete.
    #[must_use]
    pub fn pending() -> Self {
        Self::new(|_| pending())
    }

    /// Creates a tool whose `call` panics with `in call`.
    #[must_use]
    pub fn panics_in_call() -> Self {
        Self::new(|_| -> Pending<_> { scripted_panic("in call") })
    }

    /// Creates a tool whose futures panic with `in the future` at the first poll.
    #[must_use]
    pub fn panics_in_future() -> Self {
        Self::new(async |_| scripted_panic("in the future"))
    }

    /// Sets what `poll_ready` returns.
    #[must_use]
    pub fn with_readiness(self, readiness: Readiness) -> Self {
        self.set_readiness(readiness);
        self
    }

    /// Sets what `poll_ready` returns, and wakes all tasks that polled it.
    pub fn set_readiness(&self, readiness: Readiness) {
        let wakers = {
            let mut state = lock(&self.shared.state);
            state.readiness = readiness;
            std::mem::take(&mut state.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Returns another instance of this tool without counting it as a clone.
    ///
    /// One goes into the stack, the other stays with the test.
    #[must_use]
    pub fn handle(&self) -> Self {
        Self {
            instance: usize::MAX,
            shared: Arc::clone(&self.shared),
        }
    }

    /// Returns what was done with all instances so far.
    #[must_use]
    pub fn log(&self) -> ToolLog {
        lock(&self.shared.state).log.clone()
    }

    /// Counts the futures of this tool: started by `call`, finished when dropped.
    #[must_use]
    pub fn probe(&self) -> &Probe {
        &self.shared.probe
    }
}

/// Panics because the test asked for it.
#[expect(clippy::panic, reason = "the test contains the panic")]
pub(crate) fn scripted_panic<T: Any + Send>(message: T) -> ! {
    panic_any(message)
}

impl Clone for ScriptedTool {
    fn clone(&self) -> Self {
        let mut state = lock(&self.shared.state);
        state.log.clones += 1;
        Self {
            instance: state.log.clones,
            shared: Arc::clone(&self.shared),
        }
    }
}

impl fmt::Debug for ScriptedTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedTool")
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}

impl Service<ToolCall> for ScriptedTool {
    type Response = ToolOutput;
    type Error = BoxError;
    type Future = ScriptedFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let readiness = {
            let mut state = lock(&self.shared.state);
            state.log.ready_polls.push(self.instance);
            state.wakers.push(cx.waker().clone());
            state.readiness
        };
        match readiness {
            Readiness::Ready => Poll::Ready(Ok(())),
            Readiness::Pending => Poll::Pending,
            Readiness::Fails => Poll::Ready(Err("not ready".into())),
            Readiness::Panics => scripted_panic("in poll_ready"),
        }
    }

    fn call(&mut self, call: ToolCall) -> ScriptedFuture {
        lock(&self.shared.state).log.calls.push(self.instance);
        ScriptedFuture {
            work: (self.shared.work)(call),
            _inside: self.shared.probe.enter(),
        }
    }
}

// === impl ScriptedFuture ===

impl Future for ScriptedFuture {
    type Output = Result<ToolOutput, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.work.as_mut().poll(cx)
    }
}

impl fmt::Debug for ScriptedFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedFuture").finish_non_exhaustive()
    }
}
