//! The hooks of an attempt: where they are registered, and to whom they are left.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Attempt, Rare};
use crate::call::cleanup::{self, CleanupEnd, Hook, Hooks, RunHooks};
use crate::outcome::Outcome;
use crate::sync::lock;

impl Attempt {
    pub(in crate::call) fn register(&self, hook: Hook) -> cleanup::Registered {
        let (attempt, depth) = self.registers_at();
        attempt.register_at(hook, depth, Hooks::push)
    }

    /// One of a layer's own, which needs no room among the others.
    pub(in crate::call) fn register_ours(&self, hook: Hook) {
        let (attempt, depth) = self.registers_at();
        attempt.register_at(hook, depth, |hooks, hook| {
            hooks.push_ours(hook);
            None
        });
    }

    /// To whose end, and from which depth on, it belongs what this attempt leaves to be done: to those around a fork that has not been called.
    pub(super) fn registers_at(&self) -> (&Self, u32) {
        match (self.depth.load(Ordering::Acquire), self.parent()) {
            (0, Some(link)) => (link.attempt, link.depth + 1),
            _ => (self, u32::MAX),
        }
    }

    fn register_at(
        &self,
        hook: Hook,
        depth: u32,
        push: impl FnOnce(&mut Hooks, Hook) -> Option<Hook>,
    ) -> cleanup::Registered {
        let mut hooks = lock(&self.rare().hooks);
        let Some(outcome) = self.closed_outside(depth) else {
            let refused = push(&mut hooks, hook);
            drop(hooks);
            return refused.map_or(cleanup::Registered::Held, cleanup::refuse);
        };
        drop(hooks);
        Hooks::from(hook).run_untracked(self.cleanup_end(outcome));
        cleanup::Registered::RunsNow
    }

    /// What is to be done at the end, which has come, if anything is: the tasks are told to stop.
    #[inline]
    pub(crate) fn take_hooks(&self) -> Option<Hooks> {
        self.rare.get().and_then(|rare| rare.take_hooks())
    }

    /// What no cleanup layer has run: it goes to the layers around a fork, where there are any and
    /// they have room for it, and runs otherwise.
    #[inline]
    pub(crate) fn leave_hooks(&self, outcome: Outcome) {
        if let Some(hooks) = self.take_hooks() {
            self.leave(hooks, outcome);
        }
    }

    fn leave(&self, mut hooks: Hooks, outcome: Outcome) {
        if let Some(link) = self.parent() {
            let mut outer = lock(&link.attempt.rare().hooks);
            if link.attempt.closed_outside(link.depth + 1).is_none() && outer.append(&mut hooks) {
                return;
            }
        }
        hooks.run_untracked(self.cleanup_end(outcome));
    }

    /// Who runs the hooks if a task that is around outlives the call; without one it is not asked.
    #[inline]
    pub(crate) fn run_hooks_with<R: RunHooks>(&self, runner: &Arc<R>) {
        if self.is_on_task() {
            let runner: Arc<dyn RunHooks> = Arc::<R>::clone(runner);
            let depth = self.depth.load(Ordering::Acquire);
            *lock(&self.rare().runner) = Some((depth, runner));
        }
    }

    /// Has the hooks run by whoever said so further in than `depth`.
    pub(crate) fn run_hooks_inside(&self, depth: u32, outcome: Outcome) {
        let runner = self.rare.get().and_then(|rare| lock(&rare.runner).clone());
        if let Some((at, runner)) = runner {
            if at > depth {
                if let Some(hooks) = self.take_hooks() {
                    runner.run_hooks(hooks, self.cleanup_end(outcome));
                }
            }
        }
    }

    /// What hooks are told; with a success nothing is attached.
    pub(crate) fn cleanup_end(&self, outcome: Outcome) -> CleanupEnd {
        let partial = match outcome {
            Outcome::Completed => None,
            _ => self.partials(|partials, _| partials.attach()),
        };
        CleanupEnd::new(self.settings.tool.clone(), self.id(), outcome, partial)
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.end_partials();
        if self.rare.get().is_some() {
            self.cancel_children();
            let outcome = self.closed_outside(u32::MAX).unwrap_or(Outcome::Cancelled);
            self.leave_hooks(outcome);
        }
    }
}

impl Rare {
    fn take_hooks(&self) -> Option<Hooks> {
        let mut hooks = std::mem::take(&mut *lock(&self.hooks));
        hooks.tasks().abort(0);
        (!hooks.is_empty()).then_some(hooks)
    }
}
