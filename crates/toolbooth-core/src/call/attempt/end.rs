//! Ends the parts of an attempt, and hands its hooks on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::cancel::cancel_all;
use super::{Attempt, Link};
use crate::call::CleanupEnd;
use crate::call::cleanup::{self, Hook, Hooks, Registered, RunHooks};
use crate::outcome::Outcome;
use crate::sync::lock;

/// The depth and the outcome of the outermost part that has ended, in one word: both are read
/// together without a lock.
#[derive(Debug)]
pub(super) struct Mark(AtomicU32);

// === impl Attempt ===

impl Attempt {
    /// Ends a part that is not the outermost.
    #[inline]
    pub(crate) fn end_inner(&self, depth: u32, outcome: Outcome) {
        let ended = &self.layers.ended;
        match self.is_on_task() {
            true => ended.set_concurrently(depth, outcome),
            false => ended.set(depth, outcome),
        }
        if self.has_state() {
            self.notify_inside(depth);
        }
    }

    #[cold]
    fn notify_inside(&self, depth: u32) {
        let mut state = lock(&self.state);
        if let Some(hooks) = &mut state.hooks {
            hooks.tasks().abort(depth);
        }
        let scopes = state.take_scopes(depth);
        drop(state);
        cancel_all(&scopes);
    }

    /// Ends the outermost part. `alone`: there is no other handle, and nothing to race with.
    #[inline]
    pub(crate) fn end_outermost(&self, outcome: Outcome, alone: bool) {
        match alone {
            // `Drop` does the rest.
            true => self.layers.ended.set(OUTERMOST, outcome),
            false => self.end_shared(outcome),
        }
        self.end_partials();
    }

    #[cold]
    fn end_shared(&self, outcome: Outcome) {
        self.record_signal();
        let mut state = lock(&self.state);
        self.layers.ended.set_concurrently(OUTERMOST, outcome);
        let scopes = state.take_scopes(OUTERMOST);
        let rare = state.rare.as_mut();
        let taken = rare.map(|rare| (rare.wait.take(), rare.readers.take()));
        drop(state);
        drop(taken);
        cancel_all(&scopes);
    }

    /// Records that the inner service runs on a task, so that parts inside and outside of it may
    /// end concurrently. Returns the depth.
    pub(crate) fn enter_task(&self) -> u32 {
        self.layers.on_task.store(true, Ordering::Release);
        self.depth()
    }

    pub(super) fn is_on_task(&self) -> bool {
        self.layers.on_task.load(Ordering::Acquire)
    }

    pub(super) fn depth(&self) -> u32 {
        self.layers.depth.load(Ordering::Acquire)
    }

    /// Returns the outcome of the outermost ended part that is outside of `depth`.
    pub(in crate::call) fn ended_outside(&self, depth: u32) -> Option<Outcome> {
        self.layers.ended.outside(depth).or_else(|| {
            let link = self.link()?;
            link.attempt.ended_outside(link.depth + 1)
        })
    }

    /// Returns whether the outermost part has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.layers.ended.outside(OUTERMOST + 1).is_some()
    }

    /// Returns whether any part has ended.
    pub(in crate::call) fn is_over(&self) -> bool {
        self.ended_outside(u32::MAX).is_some()
    }

    // --- hooks

    /// Registers a hook of the user's.
    pub(in crate::call) fn register(&self, hook: Hook) -> Registered {
        self.register_with(hook, Hooks::push)
    }

    /// Registers a hook of a layer's, which needs no room among the others.
    pub(in crate::call) fn register_internal(&self, hook: Hook) {
        self.register_with(hook, |hooks, hook| {
            hooks.push_internal(hook);
            None
        });
    }

    fn register_with(
        &self,
        hook: Hook,
        push: impl FnOnce(&mut Hooks, Hook) -> Option<Hook>,
    ) -> Registered {
        let (attempt, depth) = self.registers_at();
        let mut state = attempt.change();
        let Some(outcome) = attempt.ended_outside(depth) else {
            let rejected = push(state.hooks(), hook);
            drop(state);
            return rejected.map_or(Registered::Held, cleanup::reject);
        };
        drop(state);
        let mut hooks = Hooks::from(hook);
        hooks.permits().add_all(&attempt.permits_until_ended());
        hooks.observe(attempt.reporter(u32::MAX));
        hooks.run_untracked(attempt.cleanup_end(outcome));
        Registered::RunsNow
    }

    /// Returns the attempt with which work of this one ends, and the depth outside of which it
    /// looks for the end. A fork that was not called registers with the layers around it.
    pub(super) fn registers_at(&self) -> (&Self, u32) {
        match (self.depth(), self.link()) {
            (0, Some(Link { attempt, depth })) => (attempt, depth + 1),
            _ => (self, u32::MAX),
        }
    }

    /// Takes the hooks and the tasks, which are aborted. They keep the permits of the layers
    /// around that are held until all has ended.
    #[inline]
    pub(crate) fn take_hooks(&self) -> Option<Hooks> {
        match self.has_state() {
            true => self.take_some_hooks(),
            false => None,
        }
    }

    #[cold]
    fn take_some_hooks(&self) -> Option<Hooks> {
        let mut hooks = lock(&self.state).hooks.take()?;
        hooks.tasks().abort(0);
        if hooks.is_empty() {
            return None;
        }
        hooks.permits().add_all(&self.permits_until_ended());
        hooks.observe(self.reporter(u32::MAX));
        Some(hooks)
    }

    /// Hands on the hooks that no cleanup layer has run: to the layers around a fork if they have
    /// room, otherwise to a task that nothing waits for.
    #[inline]
    pub(crate) fn leave_hooks(&self, outcome: Outcome) {
        if let Some(hooks) = self.take_hooks() {
            self.leave(hooks, outcome);
        }
    }

    fn leave(&self, mut hooks: Hooks, outcome: Outcome) {
        if let Some(Link { attempt, depth }) = self.link() {
            let permits = hooks.permits().clone();
            let mut outer = attempt.change();
            let is_over = attempt.ended_outside(depth + 1).is_some();
            if !is_over && outer.hooks().append(&mut hooks) {
                drop(outer);
                permits.wake_heirs();
                return;
            }
        }
        hooks.run_untracked(self.cleanup_end(outcome));
    }

    /// Sets what runs the hooks if a task outlives the call. Does nothing outside of a task.
    #[inline]
    pub(crate) fn run_hooks_with<R: RunHooks>(&self, runner: &Arc<R>) {
        if self.is_on_task() {
            let runner: Arc<dyn RunHooks> = Arc::<R>::clone(runner);
            let depth = self.depth();
            self.change().rare().runner = Some((depth, runner));
        }
    }

    /// Runs the hooks with the runner that was set inside of `depth`, if there is one.
    pub(crate) fn run_hooks_inside(&self, depth: u32, outcome: Outcome) {
        let runner = self.with_rare(|rare| rare.runner.clone()).flatten();
        if let Some((_, runner)) = runner.filter(|(at, _)| *at > depth) {
            if let Some(hooks) = self.take_hooks() {
                runner.run_hooks(hooks, self.cleanup_end(outcome));
            }
        }
    }

    /// Returns what hooks are passed. Nothing is attached to a success.
    pub(crate) fn cleanup_end(&self, outcome: Outcome) -> CleanupEnd {
        let partial = match outcome {
            Outcome::Completed => None,
            _ => self.partials(|partials, _| partials.attach()),
        };
        let call = self.settings.with_id(self.id());
        CleanupEnd::new(call, outcome, partial)
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.end_partials();
        if self.has_state() {
            let scopes = lock(&self.state).take_scopes(0);
            cancel_all(&scopes);
            let outcome = self.ended_outside(u32::MAX);
            self.leave_hooks(outcome.unwrap_or(Outcome::Cancelled));
        }
    }
}

// === impl Mark ===

pub(super) const OUTERMOST: u32 = 1;

/// The outcomes in the order of their discriminants.
const OUTCOMES: [Outcome; 6] = [
    Outcome::Completed,
    Outcome::Failed,
    Outcome::TimedOut,
    Outcome::Cancelled,
    Outcome::Rejected,
    Outcome::Panicked,
];

impl Mark {
    const NONE: u32 = u32::MAX;

    pub(super) const fn none() -> Self {
        Self(AtomicU32::new(Self::NONE))
    }

    /// Depth above, so that the outermost has the least value. No stack has 16 million layers.
    const fn pack(depth: u32, outcome: Outcome) -> u32 {
        depth << 8 | outcome as u32
    }

    /// Moves outwards, with one writer at a time. Pairs with the Acquire load in `outside`.
    #[inline]
    fn set(&self, depth: u32, outcome: Outcome) {
        let mark = Self::pack(depth, outcome);
        if mark < self.0.load(Ordering::Relaxed) {
            self.0.store(mark, Ordering::Release);
        }
    }

    fn set_concurrently(&self, depth: u32, outcome: Outcome) {
        self.0
            .fetch_min(Self::pack(depth, outcome), Ordering::AcqRel);
    }

    #[inline]
    fn outside(&self, depth: u32) -> Option<Outcome> {
        let mark = self.0.load(Ordering::Acquire);
        match mark != Self::NONE && mark >> 8 < depth {
            true => OUTCOMES.get((mark & 0xff) as usize).copied(),
            false => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_moves_outwards_only() {
        let deepest = u32::try_from(OUTCOMES.len()).expect("a few");
        for set in [Mark::set, Mark::set_concurrently] {
            let mark = Mark::none();
            assert_eq!(mark.outside(u32::MAX), None);
            for (depth, outcome) in (1..=deepest).rev().zip(OUTCOMES) {
                set(&mark, depth, outcome);
                set(&mark, depth + 1, Outcome::Completed);
                assert_eq!(mark.outside(depth), None);
                assert_eq!(mark.outside(depth + 1), Some(outcome));
            }
        }
    }
}
