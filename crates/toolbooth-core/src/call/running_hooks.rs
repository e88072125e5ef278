//! Runs the hooks of a call, one after the other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep};

use super::CleanupEnd;
use super::cleanup::{Hook, HookCounter, HookFuture, Hooks};
use crate::event::EventKind;

pin_project! {
    /// Waits for the tasks of a call, then runs its hooks. `stop` abandons the hooks.
    ///
    /// Written by hand, since each cleanup is a task of its own: the state of the same `async`
    /// function takes three times the memory (`storm`).
    pub(super) struct RunningHooks<T: HookCounter, F> {
        #[pin]
        stop: F,
        // `None` once all has ended.
        batch: Option<Batch<T>>,
    }
}

/// The hooks and the tasks of a call. Hooks that have not ended count as abandoned when the batch
/// is dropped.
struct Batch<T: HookCounter> {
    hooks: Hooks,
    /// The hook that runs. It is the last that was taken from the hooks.
    running: Option<HookFuture>,
    /// Whether the tasks have ended, or have reached the limit.
    tasks_stopped: bool,
    /// Whether all hooks have ended or were abandoned.
    hooks_ended: bool,
    end: CleanupEnd,
    limit: Duration,
    /// The limit of the tasks, or of the hook that runs, once it is pending.
    timer: Option<Pin<Box<Sleep>>>,
    counter: T,
}

/// How a hook ended.
enum HookResult {
    Completed,
    Panicked,
    Expired,
}

// === impl RunningHooks ===

impl<T: HookCounter, F> RunningHooks<T, F> {
    pub(super) const fn new(
        hooks: Hooks,
        end: CleanupEnd,
        limit: Duration,
        counter: T,
        stop: F,
    ) -> Self {
        let batch = Some(Batch {
            hooks,
            running: None,
            tasks_stopped: false,
            hooks_ended: false,
            end,
            limit,
            timer: None,
            counter,
        });
        Self { stop, batch }
    }
}

impl<T: HookCounter, F: Future<Output = ()>> Future for RunningHooks<T, F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let Some(batch) = this.batch else {
            return Poll::Ready(());
        };
        if !batch.hooks_ended {
            if this.stop.poll(cx).is_pending() {
                ready!(batch.poll_run(cx));
            }
            batch.abandon();
        }
        // Once more, without a limit. Then the permits are released.
        ready!(batch.hooks.tasks().poll_join(cx));
        *this.batch = None;
        Poll::Ready(())
    }
}

// === impl Batch ===

impl<T: HookCounter> Batch<T> {
    fn poll_run(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.tasks_stopped {
            ready!(self.poll_tasks(cx));
            self.tasks_stopped = true;
            self.timer = None;
            self.report_started();
        }
        loop {
            if self.running.is_none() {
                let Some(hook) = self.hooks.pop() else {
                    return Poll::Ready(());
                };
                if !self.start(hook) {
                    continue;
                }
            }
            let result = ready!(self.poll_hook(cx));
            self.timer = None;
            self.end_hook(result);
        }
    }

    /// Waits for the tasks until the limit.
    fn poll_tasks(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let tasks = self.hooks.tasks();
        if tasks.is_empty() || tasks.poll_join(cx).is_ready() {
            return Poll::Ready(());
        }
        ready!(self.poll_limit(cx));
        let (tool, id, limit) = (self.end.tool(), self.end.call_id(), self.limit);
        tracing::warn!(%tool, call_id = %id, ?limit, "tasks of a call do not stop");
        Poll::Ready(())
    }

    /// Calls the hook. Returns false if it panicked.
    fn start(&mut self, hook: Hook) -> bool {
        let end = self.end.clone();
        if let Some(observed) = self.hooks.observed() {
            observed.since = Instant::now();
        }
        match catch_unwind(AssertUnwindSafe(|| hook(end))) {
            Ok(running) => self.running = Some(running),
            Err(_) => self.count(&HookResult::Panicked),
        }
        self.running.is_some()
    }

    fn poll_hook(&mut self, cx: &mut Context<'_>) -> Poll<HookResult> {
        let Some(hook) = &mut self.running else {
            return Poll::Ready(HookResult::Completed);
        };
        match catch_unwind(AssertUnwindSafe(|| hook.as_mut().poll(cx))) {
            Ok(Poll::Ready(())) => Poll::Ready(HookResult::Completed),
            Ok(Poll::Pending) => self.poll_limit(cx).map(|()| HookResult::Expired),
            Err(_) => Poll::Ready(HookResult::Panicked),
        }
    }

    /// Outside of the cooperative budget, as the timer of `tokio::time::timeout`: a hook that has
    /// used up the budget expires all the same.
    fn poll_limit(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        pin!(unconstrained(timer)).poll(cx)
    }

    /// Drops the hook and counts it. A panic in its destructor does not stop the others.
    fn end_hook(&mut self, result: HookResult) {
        let hook = self.running.take();
        let result = match (result, catch_unwind(AssertUnwindSafe(|| drop(hook)))) {
            (HookResult::Completed, Err(_)) => HookResult::Panicked,
            (result, _) => result,
        };
        self.count(&result);
    }

    /// Counts the hooks that have not ended, and drops them.
    fn abandon(&mut self) {
        self.hooks_ended = true;
        self.timer = None;
        let hooks = self.hooks.len() + usize::from(self.running.is_some());
        if hooks > 0 {
            let (tool, id) = (self.end.tool(), self.end.call_id());
            tracing::warn!(%tool, call_id = %id, hooks, "cleanup hooks were abandoned");
            self.counter.abandoned(hooks);
            self.report(|_| EventKind::CleanupAbandoned { hooks });
            self.running = None;
            self.hooks.clear();
        }
    }

    fn count(&mut self, result: &HookResult) {
        let failure = match result {
            HookResult::Completed => {
                self.counter.ran();
                self.report(|took| EventKind::CleanupFinished { took });
                return;
            }
            HookResult::Panicked => "panicked",
            HookResult::Expired => "stopped at its limit",
        };
        let (tool, id, limit) = (self.end.tool(), self.end.call_id(), self.limit);
        tracing::warn!(%tool, call_id = %id, ?limit, failure, "a cleanup hook failed");
        self.counter.failed();
        let panicked = matches!(result, HookResult::Panicked);
        self.report(|took| EventKind::CleanupFailed { took, panicked });
    }

    /// Reports the start, unless there are tasks alone.
    fn report_started(&mut self) {
        let hooks = self.hooks.len();
        if hooks > 0 {
            self.report(|_| EventKind::CleanupStarted { hooks });
        }
    }

    /// Reports an event, if something observes the call. `kind` is passed for how long the hook has
    /// run.
    fn report(&mut self, kind: impl FnOnce(Duration) -> EventKind) {
        if let Some(observed) = self.hooks.observed() {
            observed.reporter.report(kind(observed.since.elapsed()));
        }
    }
}

impl<T: HookCounter> Drop for Batch<T> {
    fn drop(&mut self) {
        self.abandon();
    }
}
