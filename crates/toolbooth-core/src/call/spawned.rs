//! Tasks and blocking work that a call starts.

use std::any::Any;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinHandle};
use tracing::Instrument;

use super::{CallContext, CancelFlag};
use crate::error::ToolError;
use crate::outcome::CancelReason;

/// The maximum number of concurrent tasks of one attempt, and of its concurrent blocking jobs.
pub const MAX_SPAWNED: usize = 1_024;

/// The handle of work that a call started with [`spawn`](CallContext::spawn) or
/// [`spawn_blocking`](CallContext::spawn_blocking).
///
/// Awaiting it returns the output of the work. Dropping it does not stop the work, which ends with
/// the call at the latest.
///
/// # Errors
/// - [`Panicked`](ToolError::Panicked) if the work panicked.
/// - [`Cancelled`](ToolError::Cancelled) with [`CancelReason::Parent`] if the call ended before the
///   work.
/// - [`Tool`](ToolError::Tool) with [`TooManySpawned`] as its source if too much work was running.
///
/// # Cancel safety
/// Cancel safe: the output is returned by a later poll.
///
/// # Panics
/// If it is polled after completion, as tokio's `JoinHandle`.
pub struct Spawned<T> {
    result: oneshot::Receiver<Result<T, ToolError>>,
    task: Option<AbortHandle>,
    aborted: bool,
}

/// The error of work that was not started, because too much work of the call is running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the call already runs {limit} tasks or blocking jobs, the maximum")]
#[non_exhaustive]
pub struct TooManySpawned {
    /// The maximum number.
    pub limit: usize,
}

/// The tasks of an attempt. Ended tasks are removed lazily.
#[derive(Default)]
pub(super) struct Tasks(Vec<Task>);

struct Task {
    /// The number of layers entered when it was started. It ends with the part of any of them.
    depth: u32,
    handle: JoinHandle<()>,
}

// === impl CallContext ===

impl CallContext {
    /// Spawns a task that ends with this attempt.
    ///
    /// At the end of the attempt, a success as well, the task is aborted before the caller receives
    /// the outcome. Its future is dropped before the cleanup hooks run.
    ///
    /// The task runs in the current tracing span. Task-locals are not carried: pass their values,
    /// or wrap the future in `LocalKey::scope`.
    ///
    /// The layer that runs the [hooks](Self::on_cleanup) waits for the task first. It waits for a
    /// task that does not yield up to the limit of a hook, and then runs the hooks.
    ///
    /// At most [`MAX_SPAWNED`] tasks of one attempt run concurrently. A further task, or one after
    /// the end of the call, is not started, and the handle returns the error. A panic is traced,
    /// and returned by the handle.
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
        let (sender, mut spawned) = Spawned::new();
        if let Err(error) = attempt.may_spawn() {
            let _ = sender.send(Err(error));
            return spawned;
        }
        let (tool, id) = (attempt.settings.tool.clone(), attempt.id());
        let run = async move {
            let result = caught(future).await.map_err(|panic| {
                let error = ToolError::from_panic(&*panic);
                tracing::warn!(%tool, call_id = %id, %error, "a task of a call failed");
                error
            });
            // Fails if the handle was dropped.
            let _ = sender.send(result);
        };
        let task = tokio::spawn(run.in_current_span());
        spawned.task = Some(task.abort_handle());
        attempt.end_with(task);
        spawned
    }

    /// Runs blocking work on a thread for such work: a computation, file access, a synchronous
    /// library.
    ///
    /// A thread cannot be stopped. The work receives a flag that is set when the call is cancelled
    /// or ends, and should check it often. Work that has not started by then is not started.
    ///
    /// Work that continues is *orphaned*: neither the caller nor the hooks wait for it. It holds
    /// the permits of the call's concurrency limits until it ends. Each outer cleanup layer counts
    /// it, and waits for it in `drain`.
    ///
    /// Bounds and errors are those of [`spawn`](Self::spawn). So is what is carried: the current
    /// tracing span, and no task-locals.
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
        let (sender, mut spawned) = Spawned::new();
        let running = match attempt.begin_blocking() {
            Ok(running) => running,
            Err(error) => {
                let _ = sender.send(Err(error));
                return spawned;
            }
        };
        let (tool, id) = (attempt.settings.tool.clone(), attempt.id());
        let flag = CancelFlag::new(attempt.scope(u32::MAX));
        let span = tracing::Span::current();
        let task = tokio::task::spawn_blocking(move || {
            let running = running;
            if flag.is_cancelled() {
                return;
            }
            let entered = span.entered();
            let work = AssertUnwindSafe(|| work(flag));
            let result = catch_unwind(work).map_err(|panic| {
                let error = ToolError::from_panic(&*panic);
                tracing::warn!(%tool, call_id = %id, %error, "blocking work of a call failed");
                error
            });
            // Releases the span and the permits before the handle returns the result.
            drop((entered, running));
            let _ = sender.send(result);
        });
        spawned.task = Some(task.abort_handle());
        spawned
    }
}

// === impl Spawned ===

impl<T> Spawned<T> {
    fn new() -> (oneshot::Sender<Result<T, ToolError>>, Self) {
        let (sender, result) = oneshot::channel();
        let spawned = Self {
            result,
            task: None,
            aborted: false,
        };
        (sender, spawned)
    }

    /// Aborts the task. Awaiting the handle then returns `Cancelled`, unless the task has
    /// completed.
    ///
    /// Blocking work that has started is not stopped.
    pub fn abort(&mut self) {
        if let Some(task) = &self.task {
            self.aborted = true;
            task.abort();
        }
    }

    /// Returns why there is no result.
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

    /// Returns whether `more` tasks may start. Removes ended tasks when the list is full.
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

    /// Aborts the tasks started at `depth` or deeper. Their futures are not dropped here.
    pub(super) fn abort(&self, depth: u32) {
        let inside = self.0.iter().filter(|task| task.depth >= depth);
        inside.for_each(|task| task.handle.abort());
    }

    /// Waits until all tasks have ended, and so dropped their futures.
    pub(super) fn poll_join(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(task) = self.0.last_mut() {
            // The result is ignored: a panic was traced already.
            let _ = ready!(Pin::new(&mut task.handle).poll(cx));
            self.0.pop();
        }
        Poll::Ready(())
    }
}

impl Task {
    fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }
}

/// Returns the output of the future, or the payload of its panic.
async fn caught<T>(future: impl Future<Output = T>) -> Result<T, Box<dyn Any + Send>> {
    let mut future = pin!(future);
    poll_fn(
        |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        },
    )
    .await
}
