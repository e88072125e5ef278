//! The tasks that hold the timers of a queue while calls wait for a point in time.
//!
//! There is one on each runtime on which a call waits: no runtime is certain to be driven, or to
//! live, until then. Each task grants all waiters that are due, of any runtime. Each waiter is
//! woken once all the same. All tasks end when the queue is empty.

use std::future::poll_fn;
use std::task::{Poll, Waker, ready};
use std::time::Duration;

use tokio::runtime::{Handle, Id};
use tokio::task::AbortHandle;
use toolbooth_core::Moment;

use super::{LimitQueue, Limiter};
use crate::middleware::sync::Arc;

/// The tick of tokio's timers, in nanoseconds.
const TICK: u64 = 1_000_000;

/// The timer tasks of one queue.
#[derive(Debug)]
pub(super) struct Timers {
    tasks: Vec<TimerTask>,
    last_id: u64,
    /// The last task that was dropped before its first poll.
    dropped_unpolled: u64,
}

#[derive(Debug)]
struct TimerTask {
    id: u64,
    runtime: Id,
    handle: Option<AbortHandle>,
    /// When its timer fires, and the waker for an earlier look.
    asleep: Option<(Moment, Waker)>,
}

/// The future of a timer task.
struct Run<L: Limiter> {
    queue: Arc<LimitQueue<L>>,
    id: u64,
    polled: bool,
}

/// The waiter's runtime is shutting down, so that no timer would wake it.
#[derive(Debug)]
pub(super) struct ShuttingDown;

// === impl Timers ===

impl Timers {
    pub(super) const fn new() -> Self {
        Self {
            tasks: Vec::new(),
            last_id: 0,
            dropped_unpolled: 0,
        }
    }

    /// Registers a task on a runtime, to be [started](start). `None` if there is one.
    pub(super) fn claim(&mut self, runtime: Id) -> Option<u64> {
        if self.tasks.iter().any(|task| task.runtime == runtime) {
            return None;
        }
        self.last_id += 1;
        self.tasks.push(TimerTask {
            id: self.last_id,
            runtime,
            handle: None,
            asleep: None,
        });
        Some(self.last_id)
    }

    /// Stops all tasks. An abort only schedules: no task is polled or dropped here, under the lock.
    pub(super) fn stop(&mut self) {
        for task in self.tasks.drain(..) {
            if let Some(handle) = task.handle {
                handle.abort();
            }
        }
    }

    /// Returns the wakers of the tasks that sleep past `due`, or of all tasks.
    pub(super) fn wakers(&self, due: Option<Moment>) -> Vec<Waker> {
        let asleep = self.tasks.iter().filter_map(|task| task.asleep.as_ref());
        let late = asleep.filter(|(until, _)| due.is_none_or(|due| due < *until));
        late.map(|(_, waker)| waker.clone()).collect()
    }

    fn find(&mut self, id: u64) -> Option<&mut TimerTask> {
        self.tasks.iter_mut().find(|task| task.id == id)
    }

    fn remove(&mut self, id: u64) -> Option<TimerTask> {
        let position = self.tasks.iter().position(|task| task.id == id)?;
        Some(self.tasks.swap_remove(position))
    }
}

/// Spawns a claimed task. Called without the lock: a runtime that is shutting down drops the task
/// at once.
pub(super) fn start<L: Limiter>(
    queue: &Arc<LimitQueue<L>>,
    runtime: &Handle,
    id: u64,
) -> Result<(), ShuttingDown> {
    let run = Run {
        queue: Arc::clone(queue),
        id,
        polled: false,
    };
    let handle = runtime.spawn(run.run()).abort_handle();
    let mut state = queue.lock();
    if state.timers.dropped_unpolled == id {
        return Err(ShuttingDown);
    }
    if let Some(task) = state.timers.find(id) {
        task.handle = Some(handle);
    }
    Ok(())
}

// === impl Run ===

impl<L: Limiter> Run<L> {
    async fn run(mut self) {
        self.polled = true;
        let mut timer = std::pin::pin!(tokio::time::sleep(Duration::ZERO));
        poll_fn(|cx| {
            while let Some((now, due)) = self.grant_due(cx.waker()) {
                timer.as_mut().reset(wake_at(now, due).instant());
                ready!(timer.as_mut().poll(cx));
            }
            Poll::Ready(())
        })
        .await;
    }

    /// Grants all waiters that are due. Returns the time read and when the next waiter is due; the
    /// waker may be called before that.
    fn grant_due(&self, waker: &Waker) -> Option<(Moment, Moment)> {
        let now = Moment::now();
        let mut state = self.queue.lock();
        state.timers.find(self.id)?;
        let mut woken = Vec::new();
        self.queue.grant_due(&mut state, now, &mut woken);
        // If a store decides when the first waiter is due, it wakes this task when it has.
        let unknown = (!state.waiters.is_empty()).then(|| Moment::from_nanos(u64::MAX));
        let next = self.queue.next_due(&state, now).or(unknown);
        let asleep = next.map(|due| (due, waker.clone()));
        let previous = state
            .timers
            .find(self.id)
            .and_then(|task| std::mem::replace(&mut task.asleep, asleep));
        drop(state);
        drop(previous);
        woken.into_iter().for_each(Waker::wake);
        Some((now, next?))
    }
}

/// Returns the time to set a timer to, so that it fires at or after `due`, by the least.
///
/// tokio rounds a timer up to its next millisecond. The thread sleeps whole milliseconds, counted
/// from the running one. Together these are up to two milliseconds too many. Whole milliseconds
/// counted from `now` are less than one too many.
fn wake_at(now: Moment, due: Moment) -> Moment {
    let ticks = due.as_nanos().saturating_sub(now.as_nanos()).div_ceil(TICK);
    // A timer that is set to within the next millisecond fires at the end of it.
    let wait = ticks.saturating_sub(1).saturating_mul(TICK) + 1;
    Moment::from_nanos(now.as_nanos().saturating_add(wait))
}

impl<L: Limiter> Drop for Run<L> {
    /// If the task is still registered, its runtime has dropped it. Then all waiters are woken, for
    /// those that are polled on another runtime by now.
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        let Some(task) = state.timers.remove(self.id) else {
            return;
        };
        if !self.polled {
            state.timers.dropped_unpolled = self.id;
        }
        let orphans: Vec<Waker> = state.waiters.wakers().cloned().collect();
        drop(state);
        drop(task);
        orphans.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns when a thread wakes that goes to sleep at `now` for a timer set to `at`, as of tokio
    /// 1.54. Its clock started at `epoch`.
    fn woken(epoch: u64, now: u64, at: u64) -> u64 {
        let fires = (at - epoch).div_ceil(TICK);
        now + (fires - (now - epoch) / TICK) * TICK
    }

    proptest! {
        #[test]
        fn the_timer_is_never_early_and_less_than_a_millisecond_late(
            epoch in 1..10 * TICK,
            passed in 0..100 * TICK,
            wait in 1..100 * TICK,
        ) {
            let now = epoch + passed;
            let due = now + wait;
            let at = wake_at(Moment::from_nanos(now), Moment::from_nanos(due)).as_nanos();
            let woken = woken(epoch, now, at);
            prop_assert!(due <= woken && woken < due + TICK, "{now} {due} {woken}");
        }
    }

    #[test]
    fn control_a_timer_set_to_the_due_time_may_be_nearly_two_milliseconds_late() {
        let (now, due) = (TICK - 1, TICK + 1);
        assert_eq!(woken(0, now, due) - due, 2 * TICK - 2);
        let at = wake_at(Moment::from_nanos(now), Moment::from_nanos(due)).as_nanos();
        assert_eq!(woken(0, now, at) - due, TICK - 2);
    }
}
