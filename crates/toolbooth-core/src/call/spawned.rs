//! Work that a call starts and that ends with it: on tasks.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinHandle};
use tracing::Instrument;

use super::cleanup::caught;
use super::{CallContext, CancelFlag};
use crate::error::ToolError;
use crate::outcome::CancelReason;

/// How many tasks, and how many pieces of blocking work, of one attempt of a call may run at the same time.
pub const MAX_SPAWNED: usize = 1_024;

/// Work that a call started with [`spawn`](CallContext::spawn) or [`spawn_blocking`](CallContext::spawn_blocking). Awaiting it
/// gives what the work gives; dropping it does not stop the work, whose end comes with the call's end at the latest.
///
/// The error is [`Panicked`](ToolError::Panicked) where the work panicked; [`Cancelled`](ToolError::Cancelled), with [`CancelReason::Parent`], where the call was over
/// before the work was; and [`Tool`](ToolError::Tool) with [`TooManySpawned`] as its source where there was no room for it.
///
/// # Cancel safety
/// Safe: what the work gave is there at the next poll.
///
/// # Panics
/// When it is polled after it was done, as tokio's `JoinHandle` does.
pub struct Spawned<T> {
    result: oneshot::Receiver<Result<T, ToolError>>,
    task: Option<AbortHandle>,
    aborted: bool,
}

/// So much work of a call is running already that no more is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the call has {limit} pieces of work running, and may start no more")]
#[non_exhaustive]
pub struct TooManySpawned {
    /// How many may run.
    pub limit: usize,
}

/// The tasks of an attempt that have not ended, as far as anybody looked.
#[derive(Default)]
pub(super) struct Tasks(Vec<Task>);

struct Task {
    /// How many layers had been entered when it was started: it ends with each of their parts.
    depth: u32,
    handle: JoinHandle<()>,
}

// === impl CallContext ===

impl CallContext {
    /// Starts a future on a task of its own that ends with this attempt: at the attempt's end, a success as well, the task is
    /// aborted, before the caller sees the outcome; and what the future owns is dropped before the cleanup hooks run. The task has the current span.
    ///
    /// Who ends it is who runs the [hooks](Self::on_cleanup). A task that does not return to the runtime is waited for as long as a hook may run;
    /// then the hooks run all the same.
    ///
    /// At most [`MAX_SPAWNED`] tasks of one attempt run at the same time; nothing is started beyond them, or when the call is over:
    /// then what comes back gives the error. A panic is traced, and is in what comes back.
    ///
    /// ```
    /// use toolbooth_core::ToolCall;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), toolbooth_core::ToolError> {
    /// let call = ToolCall::new("search", serde_json::json!(null));
    /// let index = call.context().spawn(async { 6 * 7 });
    /// assert_eq!(index.await?, 42);
    /// # Ok(()) }
    /// ```
    ///
    /// # Panics
    /// Outside of a tokio runtime, as tokio's `spawn` does.
    pub fn spawn<F>(&self, future: F) -> Spawned<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let attempt = self.attempt_state();
        let (told, mut spawned) = Spawned::new();
        if let Err(refusal) = attempt.may_spawn() {
            let _ = told.send(Err(refusal));
            return spawned;
        }
        let (tool, id) = (attempt.settings.tool.clone(), attempt.id());
        let run = async move {
            let result = caught(future).await.map_err(|panic| {
                let error = ToolError::from_panic(&*panic);
                tracing::warn!(%tool, call_id = %id, %error, "a task of a call failed");
                error
            });
            // Nobody need wait for it.
            let _ = told.send(result);
        };
        let task = tokio::spawn(run.in_current_span());
        spawned.task = Some(task.abort_handle());
        attempt.end_with(task);
        spawned
    }

    /// Starts work that blocks, on a thread for such work: a computation, a file, a library that knows no async.
    ///
    /// A thread cannot be stopped from outside. The work gets a flag that says when the call is cut short or over, and should look at it
    /// often. Work that has not begun by then does not begin. Work that goes on is *orphaned*: nobody waits for
    /// it, neither the caller nor the hooks, but the permits of the concurrency limits around the call stay taken until it ends, and each cleanup layer around the call
    /// counts it and waits for it in its `drain`.
    ///
    /// Bound and errors are those of [`spawn`](Self::spawn); so is the span.
    ///
    /// ```
    /// use toolbooth_core::ToolCall;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), toolbooth_core::ToolError> {
    /// let call = ToolCall::new("checksum", serde_json::json!(null));
    /// let sum = call.context().spawn_blocking(|flag| {
    ///     let mut sum = 0_u64;
    ///     for n in 0..1_000 {
    ///         if flag.is_cancelled() {
    ///             break;
    ///         }
    ///         sum += n;
    ///     }
    ///     sum
    /// });
    /// assert_eq!(sum.await?, 499_500);
    /// # Ok(()) }
    /// ```
    ///
    /// # Panics
    /// Outside of a tokio runtime, as tokio's `spawn_blocking` does.
    pub fn spawn_blocking<F, T>(&self, work: F) -> Spawned<T>
    where
        F: FnOnce(CancelFlag) -> T + Send + 'static,
        T: Send + 'static,
    {
        let attempt = self.attempt_state();
        let (told, mut spawned) = Spawned::new();
        let held = match attempt.begin_blocking() {
            Ok(held) => held,
            Err(refusal) => {
                let _ = told.send(Err(refusal));
                return spawned;
            }
        };
        let (tool, id) = (attempt.settings.tool.clone(), attempt.id());
        let flag = CancelFlag::new(attempt.scope(u32::MAX));
        let span = tracing::Span::current();
        let task = tokio::task::spawn_blocking(move || {
            let held = held;
            if flag.is_cancelled() {
                return;
            }
            let _entered = span.entered();
            let work = AssertUnwindSafe(|| work(flag));
            let result = catch_unwind(work).map_err(|panic| {
                let error = ToolError::from_panic(&*panic);
                tracing::warn!(%tool, call_id = %id, %error, "blocking work of a call failed");
                error
            });
            // What it held is back before anybody sees the result.
            drop(held);
            let _ = told.send(result);
        });
        spawned.task = Some(task.abort_handle());
        spawned
    }
}

// === impl Spawned ===

impl<T> Spawned<T> {
    fn new() -> (oneshot::Sender<Result<T, ToolError>>, Self) {
        let (told, result) = oneshot::channel();
        let spawned = Self {
            result,
            task: None,
            aborted: false,
        };
        (told, spawned)
    }

    /// Stops the task now; awaiting it then gives `Cancelled`, unless it is done already. Blocking work that has begun is not stopped.
    pub fn abort(&mut self) {
        if let Some(task) = &self.task {
            self.aborted = true;
            task.abort();
        }
    }

    /// Why there is no result.
    const fn reason(&self) -> CancelReason {
        match self.aborted {
            true => CancelReason::Explicit,
            false => CancelReason::Parent,
        }
    }
}

impl<T> Future for Spawned<T> {
    type Output = Result<T, ToolError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match ready!(Pin::new(&mut self.result).poll(cx)) {
            Ok(result) => result,
            Err(_) => Err(ToolError::cancelled(self.reason())),
        })
    }
}

impl<T> fmt::Debug for Spawned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spawned").finish_non_exhaustive()
    }
}

// === impl Tasks ===

impl Tasks {
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(Task::is_finished)
    }

    /// Whether so many more may run. Tasks that are done are forgotten whenever they might be in the way.
    pub(super) fn has_room(&mut self, more: usize) -> bool {
        if self.0.len() + more > self.0.capacity().min(MAX_SPAWNED) {
            self.0.retain(|task| !task.is_finished());
        }
        self.0.len() + more <= MAX_SPAWNED
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn push(&mut self, depth: u32, handle: JoinHandle<()>) {
        self.0.push(Task { depth, handle });
    }

    pub(super) fn append(&mut self, tasks: &mut Self) {
        self.0.append(&mut tasks.0);
    }

    /// Has those stop that were started inside of so many layers. Nothing of them is dropped here.
    pub(super) fn abort(&self, depth: u32) {
        let inside = self.0.iter().filter(|task| task.depth >= depth);
        inside.for_each(|task| task.handle.abort());
    }

    /// Waits until what they own is dropped, for `limit` at most; true if it is.
    pub(super) async fn stopped(&mut self, limit: Duration) -> bool {
        if self.is_empty() {
            return true;
        }
        tokio::time::timeout(limit, self.join()).await.is_ok()
    }

    /// Waits without an end.
    pub(super) async fn join(&mut self) {
        while let Some(task) = self.0.last_mut() {
            // That it was aborted is no news, and a panic has been told.
            let _ = (&mut task.handle).await;
            self.0.pop();
        }
    }
}

impl Task {
    fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }
}
