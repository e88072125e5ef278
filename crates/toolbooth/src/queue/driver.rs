//! The tasks that hold a line's timers while somebody waits for a point in time: one on each
//! runtime on which somebody waits, since nobody knows which of them will be driven, or live, until then.
//!
//! Each of them admits whoever is due, of whatever runtime; a waiter is woken once all the same. All of them end when the line is empty.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker, ready};
use std::time::Duration;

use tokio::runtime::{Handle, Id};
use tokio::task::AbortHandle;
use toolbooth_core::Moment;

use super::{Line, Rule};

/// The tick of tokio's timers, in nanoseconds.
const MILLI: u64 = 1_000_000;

/// Who drives a line.
#[derive(Debug)]
pub(super) struct Drivers {
    list: Vec<Driver>,
    next: u64,
    /// The last one that was dropped before it began.
    stillborn: u64,
}

#[derive(Debug)]
struct Driver {
    generation: u64,
    runtime: Id,
    task: Option<AbortHandle>,
    /// Until when it sleeps, and what wakes it before.
    asleep: Option<(Moment, Waker)>,
}

struct Driving<R: Rule> {
    line: Arc<Line<R>>,
    generation: u64,
    begun: bool,
}

/// The runtime of a waiter is shutting down: there is nobody to wake it when its time comes.
#[derive(Debug)]
pub(super) struct ShuttingDown;

// === impl Drivers ===

impl Drivers {
    pub(super) const fn new() -> Self {
        Self {
            list: Vec::new(),
            next: 0,
            stillborn: 0,
        }
    }

    /// Claims the place of the driver on a runtime; `None` if it is taken.
    pub(super) fn claim(&mut self, runtime: Id) -> Option<u64> {
        if self.list.iter().any(|driver| driver.runtime == runtime) {
            return None;
        }
        self.next += 1;
        self.list.push(Driver {
            generation: self.next,
            runtime,
            task: None,
            asleep: None,
        });
        Some(self.next)
    }

    /// Stops all. An abort only schedules: nothing of the task runs or is dropped here, under the lock.
    pub(super) fn stop(&mut self) {
        for driver in self.list.drain(..) {
            if let Some(task) = driver.task {
                task.abort();
            }
        }
    }

    /// What wakes those that sleep past `due`; or all, where none is given.
    pub(super) fn wakers(&self, due: Option<Moment>) -> Vec<Waker> {
        let asleep = self.list.iter().filter_map(|driver| driver.asleep.as_ref());
        let late = asleep.filter(|(until, _)| due.is_none_or(|due| due < *until));
        late.map(|(_, waker)| waker.clone()).collect()
    }

    fn find(&mut self, generation: u64) -> Option<&mut Driver> {
        self.list
            .iter_mut()
            .find(|driver| driver.generation == generation)
    }

    fn remove(&mut self, generation: u64) -> Option<Driver> {
        let place = |driver: &Driver| driver.generation == generation;
        let place = self.list.iter().position(place)?;
        Some(self.list.swap_remove(place))
    }
}

/// Starts the driver that was claimed. Called without the lock, since a runtime that is shutting down drops the task at once.
pub(super) fn start<R: Rule>(
    line: &Arc<Line<R>>,
    runtime: &Handle,
    generation: u64,
) -> Result<(), ShuttingDown> {
    let driving = Driving {
        line: Arc::clone(line),
        generation,
        begun: false,
    };
    let task = runtime.spawn(driving.run()).abort_handle();
    let mut state = line.lock();
    if state.drivers.stillborn == generation {
        return Err(ShuttingDown);
    }
    if let Some(driver) = state.drivers.find(generation) {
        driver.task = Some(task);
    }
    Ok(())
}

// === impl Driving ===

impl<R: Rule> Driving<R> {
    async fn run(mut self) {
        self.begun = true;
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

    /// Admits all whose time has come by now, in order; then when the next one's comes, before which the waker may be called.
    fn grant_due(&self, waker: &Waker) -> Option<(Moment, Moment)> {
        let now = Moment::now();
        let mut state = self.line.lock();
        state.drivers.find(self.generation)?;
        let mut woken = Vec::new();
        self.line.grant_due(&mut state, now, &mut woken);
        let next = self.line.next_due(&state, now);
        let asleep = next.map(|due| (due, waker.clone()));
        let before = state
            .drivers
            .find(self.generation)
            .and_then(|driver| std::mem::replace(&mut driver.asleep, asleep));
        drop(state);
        drop(before);
        woken.into_iter().for_each(Waker::wake);
        Some((now, next?))
    }
}

/// For when to set a timer that is to fire when `due` has come.
///
/// tokio's timers round up to the next of their milliseconds, and the thread sleeps whole ones, counted from the one that it is in: together up to two too
/// many. Whole ones from now on are less than one too many.
fn wake_at(now: Moment, due: Moment) -> Moment {
    let millis = due
        .as_nanos()
        .saturating_sub(now.as_nanos())
        .div_ceil(MILLI);
    // A timer that is set to within the next millisecond fires at the end of it.
    let wait = millis.saturating_sub(1).saturating_mul(MILLI) + 1;
    Moment::from_nanos(now.as_nanos().saturating_add(wait))
}

impl<R: Rule> Drop for Driving<R> {
    /// Gone with its runtime, if it is still in the list: then all who wait are woken once more, for those of them that
    /// are polled on another runtime by now.
    fn drop(&mut self) {
        let mut state = self.line.lock();
        let Some(driver) = state.drivers.remove(self.generation) else {
            return;
        };
        if !self.begun {
            state.drivers.stillborn = self.generation;
        }
        let orphans: Vec<Waker> = state.waiting.iter().cloned().collect();
        drop(state);
        drop(driver);
        orphans.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// When a thread wakes that goes to sleep now for a timer set to `at`, as of tokio 1.54; its clock began at `epoch`.
    fn woken(epoch: u64, now: u64, at: u64) -> u64 {
        let fires = (at - epoch).div_ceil(MILLI);
        now + (fires - (now - epoch) / MILLI) * MILLI
    }

    proptest! {
        #[test]
        fn the_driver_is_never_early_and_less_than_a_millisecond_late(
            epoch in 1..10 * MILLI,
            passed in 0..100 * MILLI,
            wait in 1..100 * MILLI,
        ) {
            let now = epoch + passed;
            let due = now + wait;
            let at = wake_at(Moment::from_nanos(now), Moment::from_nanos(due)).as_nanos();
            let woken = woken(epoch, now, at);
            prop_assert!(due <= woken && woken < due + MILLI, "{now} {due} {woken}");
        }
    }

    #[test]
    fn control_a_timer_set_to_when_it_is_due_may_be_nearly_two_late() {
        let (now, due) = (MILLI - 1, MILLI + 1);
        assert_eq!(woken(0, now, due) - due, 2 * MILLI - 2);
        let at = wake_at(Moment::from_nanos(now), Moment::from_nanos(due)).as_nanos();
        assert_eq!(woken(0, now, at) - due, MILLI - 2);
    }
}
