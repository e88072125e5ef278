//! A future on a task of its own, which ends with its handle.
//!
//! 1. The future is dropped by whoever drops the handle, then and there: so what it holds is back before a caller sees
//!    how the call ended. Only while the task polls it just then, the task drops it after that poll.
//! 2. Whoever drops the handle never waits for the task. It sets `cut` before it looks whether the task polls, the task
//!    looks at `cut` after it has let go: so one of them drops the future.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::{Context, Poll, ready};

use tokio::task::JoinHandle;
use toolbooth_core::{CancelReason, TaskScope, ToolError};
use tracing::Instrument;

/// The handle: the future's output comes out of it.
pub(super) struct OwnTask<F, T> {
    shared: Arc<Shared<F, T>>,
    /// From the first poll on, which is on a runtime where the call may not be.
    task: Option<JoinHandle<()>>,
    scope: TaskScope,
}

struct Shared<F, T> {
    state: Mutex<State<F, T>>,
    cut: AtomicBool,
}

enum State<F, T> {
    Running(Pin<Box<F>>),
    Done(T),
    Gone,
}

/// The task's side.
struct Running<F, T>(Arc<Shared<F, T>>);

// === impl OwnTask ===

impl<F, T> OwnTask<F, T> {
    pub(super) fn new(future: F, scope: TaskScope) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State::Running(Box::pin(future))),
                cut: AtomicBool::new(false),
            }),
            task: None,
            scope,
        }
    }
}

impl<F, T> Future for OwnTask<F, T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    type Output = Result<T, ToolError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { shared, task, .. } = &mut *self;
        let task = task.get_or_insert_with(|| {
            let running = Running(Arc::clone(shared));
            tokio::spawn(running.in_current_span())
        });
        let ended = ready!(Pin::new(task).poll(cx));
        Poll::Ready(match (shared.take(), ended) {
            (State::Done(output), _) => Ok(output),
            (_, Err(ended)) if ended.is_panic() => Err(ToolError::from_panic(&*ended.into_panic())),
            _ => Err(ToolError::cancelled(CancelReason::Shutdown)),
        })
    }
}

impl<F, T> Drop for OwnTask<F, T> {
    fn drop(&mut self) {
        let Some(task) = self.task.take() else { return };
        task.abort();
        if !self.shared.cut() {
            // The task drops what is inside when its tool next yields: cleanup, and with it a drain, waits for that.
            self.scope.outlived_by(async move {
                let _ = task.await;
            });
        }
    }
}

// === impl Shared ===

impl<F, T> Shared<F, T> {
    /// Drops the future; false where the task polls it just then, and does so itself.
    fn cut(&self) -> bool {
        self.cut.store(true, Ordering::SeqCst);
        // With the fence in `poll`: either the lock is seen free here, or `cut` is seen there.
        fence(Ordering::SeqCst);
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(state)) => state.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        let inside = std::mem::replace(&mut *state, State::Gone);
        drop(state);
        drop(inside);
        true
    }

    fn lock(&self) -> MutexGuard<'_, State<F, T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> State<F, T> {
        std::mem::replace(&mut *self.lock(), State::Gone)
    }
}

impl<F: Future<Output = T>, T> Shared<F, T> {
    /// The future is dropped in the poll in which it completes.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        // Otherwise locked for a moment only, by whoever cuts it.
        let mut state = self.lock();
        let State::Running(future) = &mut *state else {
            return Poll::Pending;
        };
        let polled = future.as_mut().poll(cx).map(|output| {
            drop(std::mem::replace(&mut *state, State::Gone));
            *state = State::Done(output);
        });
        drop(state);
        fence(Ordering::SeqCst);
        if self.cut.load(Ordering::SeqCst) {
            drop(self.take());
        }
        polled
    }
}

// === impl Running ===

impl<F: Future<Output = T>, T> Future for Running<F, T> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll(cx)
    }
}

impl<F, T> Drop for Running<F, T> {
    /// The runtime goes away, and its tasks with it.
    fn drop(&mut self) {
        let mut state = self.0.lock();
        let unfinished = match &*state {
            State::Running(_) => std::mem::replace(&mut *state, State::Gone),
            State::Done(_) | State::Gone => State::Gone,
        };
        drop(state);
        drop(unfinished);
    }
}
