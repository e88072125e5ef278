//! The task that owns a line's only timer while somebody waits for a point in time.
//!
//! It lives on the runtime of the waiter that started it. When it dies with that runtime, all who
//! wait are woken once more, and the first of them that is polled starts another on its own.

use std::sync::Arc;
use std::task::Waker;

use tokio::task::AbortHandle;
use toolbooth_core::Moment;

use super::{Line, Rule};

/// Who drives a line.
#[derive(Debug)]
pub(super) struct Driver {
    /// Tells a driver from those before it.
    generation: u64,
    running: bool,
    task: Option<AbortHandle>,
}

struct Driving<R: Rule> {
    line: Arc<Line<R>>,
    generation: u64,
}

// === impl Driver ===

impl Driver {
    pub(super) const fn new() -> Self {
        Self {
            generation: 0,
            running: false,
            task: None,
        }
    }

    /// Claims the place of the driver; `None` if it is taken.
    pub(super) fn claim(&mut self) -> Option<u64> {
        if self.running {
            return None;
        }
        self.running = true;
        self.generation += 1;
        Some(self.generation)
    }

    pub(super) fn stop(&mut self) {
        self.running = false;
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

/// Starts the driver that was claimed. Called without the lock: a runtime that is shutting down drops the task at once.
pub(super) fn start<R: Rule>(line: &Arc<Line<R>>, generation: u64) {
    let driving = Driving {
        line: Arc::clone(line),
        generation,
    };
    let task = tokio::spawn(driving.run());
    let mut state = line.lock();
    if state.driver.running && state.driver.generation == generation {
        state.driver.task = Some(task.abort_handle());
    }
}

// === impl Driving ===

impl<R: Rule> Driving<R> {
    async fn run(self) {
        while let Some(due) = self.grant_due() {
            tokio::time::sleep_until(due.instant()).await;
        }
    }

    /// Admits all whose time has come, in order; then when the next one's comes.
    fn grant_due(&self) -> Option<Moment> {
        let now = Moment::now();
        let mut state = self.line.lock();
        if state.driver.generation != self.generation {
            return None;
        }
        let woken: Vec<Waker> = std::iter::from_fn(|| self.line.grant(&mut state, now)).collect();
        let next = match state.waiting.is_empty() {
            true => None,
            false => self.line.rule().due(0),
        };
        drop(state);
        woken.into_iter().for_each(Waker::wake);
        next
    }
}

impl<R: Rule> Drop for Driving<R> {
    fn drop(&mut self) {
        let mut state = self.line.lock();
        if !state.driver.running || state.driver.generation != self.generation {
            return;
        }
        state.driver.running = false;
        state.driver.task = None;
        let orphans: Vec<Waker> = state.waiting.values().cloned().collect();
        drop(state);
        orphans.into_iter().for_each(Waker::wake);
    }
}
