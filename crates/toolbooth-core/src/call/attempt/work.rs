//! The work of an attempt: where it is registered, so that it ends with the attempt.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::task::JoinHandle;

use super::Attempt;
use crate::call::blocking::Held;
use crate::call::spawned::{MAX_SPAWNED, TooManySpawned};
use crate::error::ToolError;
use crate::outcome::CancelReason;
use crate::sync::lock;

impl Attempt {
    /// Whether a task may be started.
    pub(in crate::call) fn may_spawn(&self) -> Result<(), ToolError> {
        let (attempt, depth) = self.registers_at();
        let room = lock(&attempt.rare().hooks).tasks().has_room(1);
        match attempt.closed_outside(depth) {
            Some(_) => Err(self.refused(ToolError::cancelled(CancelReason::Parent))),
            None if room => Ok(()),
            None => Err(self.refused(too_many())),
        }
    }

    /// Has a task ended with the attempt; at once if that ended, or was filled up, since it was asked.
    pub(in crate::call) fn end_with(&self, task: JoinHandle<()>) {
        let (attempt, depth) = self.registers_at();
        let mut hooks = lock(&attempt.rare().hooks);
        if attempt.closed_outside(depth).is_none() && hooks.tasks().has_room(1) {
            let entered = attempt.depth.load(Ordering::Acquire);
            hooks.push_task(entered.min(depth - 1), task);
        } else {
            task.abort();
        }
    }

    /// A part has ended: what was started inside of it is told to stop.
    pub(super) fn stop_tasks(&self, depth: u32) {
        if let Some(rare) = self.rare.get() {
            lock(&rare.hooks).tasks().abort(depth);
        }
    }

    /// A piece of blocking work is to begin, if it may.
    pub(in crate::call) fn begin_blocking(&self) -> Result<Arc<Held>, ToolError> {
        let held = Arc::new(Held::default());
        let running = self.rare().blocking.add(&held);
        // Looked at when the work is in the list: an end that this does not see finds the work there.
        if self.is_closed() {
            return Err(self.refused(ToolError::cancelled(CancelReason::Parent)));
        }
        if running > MAX_SPAWNED {
            return Err(self.refused(too_many()));
        }
        self.blocks_above(&held);
        Ok(held)
    }

    /// Whoever this attempt is inside of has blocking work as well.
    fn blocks_above(&self, held: &Arc<Held>) {
        let caller = self
            .settings
            .parent()
            .and_then(|parent| parent.attempt.upgrade());
        let forked = self.parent().map(|link| Arc::clone(link.attempt));
        for above in [forked, caller].into_iter().flatten() {
            above.rare().blocking.add(held);
            above.blocks_above(held);
        }
    }

    /// Has the blocking work that has not ended keep `permit` until it has; drops it where there is none.
    #[inline]
    pub(crate) fn keep_for_blocking<T: Send + Sync + 'static>(&self, permit: T) {
        if let Some(rare) = self.rare.get() {
            let permit = Arc::new(permit);
            for held in rare.blocking.running() {
                held.keep_permit(Arc::clone(&permit));
            }
        }
    }

    /// Has each piece of the blocking work that has not ended keep what `each` gives.
    #[inline]
    pub(crate) fn count_blocking<T: Send + 'static>(&self, mut each: impl FnMut() -> T) {
        if let Some(rare) = self.rare.get() {
            for held in rare.blocking.running() {
                held.keep_count(each());
            }
        }
    }

    /// Whether it is cut or over.
    pub(in crate::call) fn is_gone(&self) -> bool {
        self.cancelled_outside(u32::MAX).is_some() || self.is_closed()
    }

    fn refused(&self, refusal: ToolError) -> ToolError {
        tracing::warn!(tool = %self.settings.tool, call_id = %self.id(), %refusal, "work was not started");
        refusal
    }
}

fn too_many() -> ToolError {
    ToolError::failed(TooManySpawned { limit: MAX_SPAWNED })
}
