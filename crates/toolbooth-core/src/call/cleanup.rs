//! Cleanup hooks: what a call left behind to be done after it, and how it is done.

use std::any::Any;
use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tracing::Instrument;

use super::Name;
use super::spawned::Tasks;
use crate::outcome::Outcome;
use crate::response::Partial;

/// How many hooks one attempt of a call may register. Where a retry stands inside the cleanup layer, those of all
/// attempts wait together: a hook that a tool directly inside the retry registers beyond them is refused, and those that a layer
/// inside the retry leaves over run when their attempt ends.
pub const MAX_HOOKS: usize = 64;

/// How long each hook may run, where no cleanup layer says otherwise.
pub const DEFAULT_HOOK_LIMIT: Duration = Duration::from_secs(5);

pub(super) type Hook = Box<dyn FnOnce(CleanupEnd) -> HookFuture + Send>;
type HookFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What became of a hook that was registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Registered {
    /// It runs when the call ends.
    Held,
    /// The call is over already: it runs at once.
    RunsNow,
    /// The attempt has [`MAX_HOOKS`] hooks already: it was dropped, and will not run.
    Rejected,
}

/// What a cleanup hook is told.
#[derive(Debug, Clone)]
pub struct CleanupEnd {
    call: Called,
    outcome: Outcome,
    partial: Option<Arc<Partial>>,
}

/// Who counts what becomes of hooks.
pub trait HookCounter: Send + 'static {
    /// A hook ran to its end.
    fn ran(&self);
    /// A hook panicked, or was stopped at its limit.
    fn failed(&self);
    /// So many hooks did not run, or not to their end: there was no runtime left to run them.
    fn abandoned(&self, hooks: usize);
}

/// Who runs hooks of calls that it does not see end: see [`CallContext::run_hooks_with`](crate::CallContext::run_hooks_with).
pub trait RunHooks: fmt::Debug + Send + Sync + 'static {
    /// Runs them.
    fn run_hooks(&self, hooks: Hooks, end: CleanupEnd);
}

/// The hooks of a call, and the tasks that it started, for whoever runs and ends them.
#[derive(Default)]
pub struct Hooks {
    list: Vec<Hook>,
    runtime: Option<Handle>,
    /// Waited for before the first hook runs.
    tasks: Tasks,
}

/// Hooks on their way to being run: what is dropped unrun counts as abandoned.
struct Batch<T: HookCounter> {
    list: Vec<Hook>,
    running: bool,
    call: Called,
    tally: T,
}

/// Which call it was, for whoever reads the traces.
#[derive(Debug, Clone)]
struct Called {
    tool: Name,
    id: Name,
}

/// Counts nothing: abandoned hooks are traced all the same.
struct Untracked;

// === impl CleanupEnd ===

impl CleanupEnd {
    pub(super) const fn new(
        tool: Name,
        id: Name,
        outcome: Outcome,
        partial: Option<Arc<Partial>>,
    ) -> Self {
        let call = Called { tool, id };
        Self {
            call,
            outcome,
            partial,
        }
    }

    /// The name of the tool.
    #[must_use]
    pub fn tool(&self) -> &str {
        &self.call.tool
    }

    /// The id of the call.
    #[must_use]
    pub fn call_id(&self) -> &str {
        &self.call.id
    }

    /// How the call ended, as the layer that runs the hook saw it.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// What the call had produced, if it was cut short and anything was kept.
    #[must_use]
    pub fn partial(&self) -> Option<&Partial> {
        self.partial.as_deref()
    }
}

// === impl Hooks ===

impl Hooks {
    /// Whether there is nothing to run.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty() && self.tasks.is_empty()
    }

    /// The runtime on which the first hook was registered, or else the current one.
    #[must_use]
    pub fn runtime(&self) -> Option<Handle> {
        self.runtime.clone().or_else(|| Handle::try_current().ok())
    }

    /// Waits until the tasks of the call have stopped, for `limit` at most. Then runs the hooks one after the other, last in
    /// first out, each for `limit` at most. A hook that panics or overruns is reported, and stops no other.
    ///
    /// When `stop` comes, or the future is dropped, the hooks that have not run to their end are abandoned, and `tally` is told so.
    /// The future is done when the tasks have stopped, too: one that blocks its thread is waited for.
    pub fn run<T: HookCounter>(
        mut self,
        end: CleanupEnd,
        limit: Duration,
        tally: T,
        stop: impl Future<Output = ()> + Send,
    ) -> impl Future<Output = ()> + Send {
        let batch = Batch {
            list: std::mem::take(&mut self.list),
            running: false,
            call: end.call.clone(),
            tally,
        };
        let mut tasks = std::mem::take(&mut self.tasks);
        async move {
            let hooks = async {
                if !tasks.stopped(limit).await {
                    let Called { tool, id } = &batch.call;
                    tracing::warn!(%tool, call_id = %id, ?limit, "tasks of a call do not stop");
                }
                batch.run(&end, limit).await;
            };
            until(stop, hooks).await;
            tasks.join().await;
        }
        .in_current_span()
    }

    /// Adds a hook, or gives it back where there are too many.
    pub(super) fn push(&mut self, hook: Hook) -> Option<Hook> {
        if self.list.len() >= MAX_HOOKS {
            return Some(hook);
        }
        self.push_internal(hook);
        None
    }

    /// Adds one that a layer has: few, and not to be refused.
    pub(super) fn push_internal(&mut self, hook: Hook) {
        self.remember_runtime();
        self.list.push(hook);
    }

    fn remember_runtime(&mut self) {
        if self.runtime.is_none() {
            self.runtime = Handle::try_current().ok();
        }
    }

    /// The tasks, to add one or to stop them.
    pub(super) const fn tasks(&mut self) -> &mut Tasks {
        &mut self.tasks
    }

    pub(super) fn push_task(&mut self, depth: u32, task: JoinHandle<()>) {
        self.remember_runtime();
        self.tasks.push(depth, task);
    }

    /// Takes over the hooks of an attempt, if there is room for all; else leaves them where they are.
    pub(super) fn append(&mut self, hooks: &mut Self) -> bool {
        let room = self.list.len() + hooks.list.len() <= MAX_HOOKS
            && self.tasks.has_room(hooks.tasks.len());
        if room {
            self.list.append(&mut hooks.list);
            self.tasks.append(&mut hooks.tasks);
            self.runtime = self.runtime.take().or(hooks.runtime.take());
        }
        room
    }

    /// Runs the hooks where no cleanup layer does: on a task that nobody waits for.
    pub(super) fn run_untracked(self, end: CleanupEnd) {
        let runtime = self.runtime();
        let run = self.run(end, DEFAULT_HOOK_LIMIT, Untracked, pending());
        if let Some(runtime) = runtime {
            runtime.spawn(run);
        }
    }
}

impl From<Hook> for Hooks {
    fn from(hook: Hook) -> Self {
        Self {
            list: vec![hook],
            runtime: None,
            tasks: Tasks::default(),
        }
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("len", &self.list.len())
            .field("tasks", &self.tasks.len())
            .finish_non_exhaustive()
    }
}

impl Drop for Hooks {
    fn drop(&mut self) {
        if !self.list.is_empty() {
            tracing::warn!(
                hooks = self.list.len(),
                "cleanup hooks were dropped without being run"
            );
        }
    }
}

// === impl Batch ===

impl<T: HookCounter> Batch<T> {
    async fn run(mut self, end: &CleanupEnd, limit: Duration) {
        while let Some(hook) = self.list.pop() {
            self.running = true;
            let end = end.clone();
            let mut hook = Box::pin(async move { hook(end).await });
            let done = tokio::time::timeout(limit, caught(hook.as_mut())).await;
            // A hook that panics even when it is dropped stops no other.
            let dropped = catch_unwind(AssertUnwindSafe(|| drop(hook)));
            self.running = false;
            let Called { tool, id } = &self.call;
            let failure = match (done, dropped) {
                (Ok(Ok(())), Ok(())) => {
                    self.tally.ran();
                    continue;
                }
                (Err(_), _) => "stopped at its limit",
                _ => "panicked",
            };
            tracing::warn!(%tool, call_id = %id, ?limit, failure, "a cleanup hook failed");
            self.tally.failed();
        }
    }
}

impl<T: HookCounter> Drop for Batch<T> {
    fn drop(&mut self) {
        let hooks = self.list.len() + usize::from(self.running);
        if hooks > 0 {
            let Called { tool, id } = &self.call;
            tracing::warn!(%tool, call_id = %id, hooks, "cleanup hooks were abandoned");
            self.tally.abandoned(hooks);
        }
    }
}

impl HookCounter for Untracked {
    fn ran(&self) {}
    fn failed(&self) {}
    fn abandoned(&self, _: usize) {}
}

/// One hook too many. Called without a lock, since dropping it may run anything.
pub(super) fn reject(hook: Hook) -> Registered {
    drop(hook);
    tracing::warn!(limit = MAX_HOOKS, "a cleanup hook was refused: too many");
    Registered::Rejected
}

/// Runs `work` to its end, or until `stop` comes; then it is dropped.
async fn until(stop: impl Future<Output = ()>, work: impl Future<Output = ()>) {
    let (mut stop, mut work) = (pin!(stop), pin!(work));
    poll_fn(|cx| match stop.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending => work.as_mut().poll(cx),
    })
    .await;
}

/// The future's output, or the panic that ended it.
pub(super) async fn caught<T>(future: impl Future<Output = T>) -> Result<T, Box<dyn Any + Send>> {
    let mut future = pin!(future);
    poll_fn(
        |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        },
    )
    .await
}
