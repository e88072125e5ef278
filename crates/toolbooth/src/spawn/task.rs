//! A future on a task of its own, which ends with its handle.
//!
//! Invariants:
//! 1. Dropping the handle drops the future before the drop returns, so what the future owns is
//!    released before a caller sees how the call ended. The exception: if the task polls the
//!    future at that moment, the task drops it after that poll.
//! 2. The lock is never held while the future is polled or dropped: dropping the handle never
//!    waits for the tool.

use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::task::JoinHandle;
use toolbooth_core::{BoxError, CancelReason, KeptPermits, TaskScope, ToolError};
use tracing::Instrument;

/// The handle of a future on its own task. It resolves to the future's result.
pub(super) struct OwnTask<F, T> {
    shared: Arc<Shared<F, T>>,
    /// Spawned by the first poll, on the runtime of that poll.
    task: Option<JoinHandle<()>>,
    scope: TaskScope,
}

struct Shared<F, T> {
    state: Mutex<State<F, T>>,
    /// What the task keeps after its handle was dropped, until its future is dropped, too.
    permits: OnceLock<KeptPermits>,
}

enum State<F, T> {
    /// The future, while the task does not poll it.
    Idle(Pin<Box<F>>),
    /// The task owns the future and polls it.
    Polled,
    Done(Result<T, ToolError>),
    /// The handle was dropped, or took the result.
    Closed,
}

/// The task's side.
struct Running<F, T>(Arc<Shared<F, T>>);

// === impl OwnTask ===

impl<F, T> OwnTask<F, T> {
    pub(super) fn new(future: F, scope: TaskScope) -> Self {
        let shared = Shared {
            state: Mutex::new(State::Idle(Box::pin(future))),
            permits: OnceLock::new(),
        };
        Self {
            shared: Arc::new(shared),
            task: None,
            scope,
        }
    }
}

impl<F, T, E> Future for OwnTask<F, T>
where
    F: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Into<BoxError> + 'static,
{
    type Output = Result<T, ToolError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { shared, task, .. } = &mut *self;
        let task = task.get_or_insert_with(|| {
            let running = Running(Arc::clone(shared));
            tokio::spawn(running.in_current_span())
        });
        let ended = ready!(Pin::new(task).poll(cx));
        Poll::Ready(match (shared.replace(State::Closed), ended) {
            (State::Done(result), _) => result,
            (_, Err(ended)) if ended.is_panic() => Err(ToolError::from_panic(&*ended.into_panic())),
            _ => Err(ToolError::cancelled(CancelReason::Shutdown)),
        })
    }
}

impl<F, T> Drop for OwnTask<F, T> {
    fn drop(&mut self) {
        let Some(task) = self.task.take() else { return };
        task.abort();
        if let State::Polled = self.shared.replace(State::Closed) {
            // The task drops the future when the tool next yields. Cleanup, and with it a drain,
            // waits for that.
            let permits = self.scope.outlived_by(async move {
                let _ = task.await;
            });
            // Not set before: only this drop sets it.
            let _ = self.shared.permits.set(permits);
        }
    }
}

// === impl Shared ===

impl<F, T> Shared<F, T> {
    fn lock(&self) -> MutexGuard<'_, State<F, T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the state. The caller drops the previous one, without the lock.
    fn replace(&self, state: State<F, T>) -> State<F, T> {
        mem::replace(&mut *self.lock(), state)
    }
}

// === impl Running ===

impl<F, T, E> Future for Running<F, T>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError> + 'static,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        let State::Idle(mut future) = mem::replace(&mut *state, State::Polled) else {
            // The handle was dropped before, and has aborted the task.
            *state = State::Closed;
            return Poll::Pending;
        };
        drop(state);
        let Poll::Ready(result) = future.as_mut().poll(cx) else {
            // If the handle was dropped meanwhile, the runtime drops the aborted task, and with it
            // this future, when the poll returns.
            drop(self.0.replace(State::Idle(future)));
            return Poll::Pending;
        };
        drop(future);
        let result = result.map_err(ToolError::from_error);
        drop(self.0.replace(State::Done(result)));
        Poll::Ready(())
    }
}

impl<F, T> Drop for Running<F, T> {
    /// Drops an unfinished future together with its runtime.
    fn drop(&mut self) {
        let mut state = self.0.lock();
        let unfinished = match *state {
            State::Idle(_) => mem::replace(&mut *state, State::Closed),
            State::Polled | State::Done(_) | State::Closed => State::Closed,
        };
        drop(state);
        drop(unfinished);
    }
}
