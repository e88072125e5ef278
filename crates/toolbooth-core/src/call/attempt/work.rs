//! The tasks and the blocking tasks of an attempt.

use std::sync::{Arc, Weak};

use tokio::task::JoinHandle;

use super::Attempt;
use crate::call::blocking::{self, BlockingWork};
use crate::call::spawned::{MAX_SPAWNED, TooManySpawned};
use crate::error::ToolError;
use crate::outcome::CancelReason;

impl Attempt {
    /// Returns whether a task may be started.
    pub(in crate::call) fn may_spawn(&self) -> Result<(), ToolError> {
        let (attempt, depth) = self.registers_at();
        let has_room = attempt.change().hooks().tasks().has_room(1);
        match attempt.ended_outside(depth) {
            Some(_) => Err(self.rejected(ToolError::cancelled(CancelReason::Parent))),
            None if has_room => Ok(()),
            None => Err(self.rejected(too_many())),
        }
    }

    /// Aborts a task when the attempt ends. At once if that has ended, or is full, by now.
    pub(in crate::call) fn end_with(&self, task: JoinHandle<()>) {
        let (attempt, depth) = self.registers_at();
        let mut state = attempt.change();
        let hooks = state.hooks();
        if attempt.ended_outside(depth).is_none() && hooks.tasks().has_room(1) {
            hooks.push_task(attempt.depth().min(depth - 1), task);
        } else {
            drop(state);
            task.abort();
        }
    }

    /// Registers a blocking job that is about to start.
    pub(in crate::call) fn begin_blocking(&self) -> Result<Arc<BlockingWork>, ToolError> {
        let work = Arc::new(BlockingWork::new(self.permits_of_blocking()));
        let running = self.list_blocking(&work);
        // Read after the work is listed and has the permits: an end that this misses finds both.
        if self.is_over() {
            return Err(self.rejected(ToolError::cancelled(CancelReason::Parent)));
        }
        if running > MAX_SPAWNED {
            return Err(self.rejected(too_many()));
        }
        Ok(work)
    }

    /// Lists the job here and in all enclosing attempts. Returns how many jobs run here.
    fn list_blocking(&self, work: &Arc<BlockingWork>) -> usize {
        let mut state = self.change();
        let running = blocking::add(&mut state.rare().blocking, Arc::downgrade(work));
        drop(state);
        if let Some(around) = self.around() {
            around.attempt.list_blocking(work);
        }
        running
    }

    #[inline]
    fn blocking_work(&self) -> Vec<Arc<BlockingWork>> {
        let running =
            self.with_rare(|rare| rare.blocking.iter().filter_map(Weak::upgrade).collect());
        running.unwrap_or_default()
    }

    /// Calls `each` for every blocking job, and keeps its result until the job has ended.
    #[inline]
    pub(crate) fn count_blocking<T: Send + 'static>(&self, mut each: impl FnMut() -> T) {
        for work in self.blocking_work() {
            work.keep_count(each());
        }
    }

    fn rejected(&self, rejection: ToolError) -> ToolError {
        let (tool, call_id) = (&self.settings.tool, self.id());
        tracing::warn!(%tool, %call_id, %rejection, "work was not started");
        rejection
    }
}

fn too_many() -> ToolError {
    ToolError::failed(TooManySpawned { limit: MAX_SPAWNED })
}
