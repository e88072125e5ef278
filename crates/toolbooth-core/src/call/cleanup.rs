//! Cleanup hooks, and how they are run after a call.

use std::fmt;
use std::future::{Future, pending};
use std::pin::Pin;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{Instrument, Span};

use super::CleanupEnd;
use super::attempt::Reporter;
use super::kept::KeptPermits;
use super::running_hooks::RunningHooks;
use super::spawned::Tasks;

/// The maximum number of hooks of one attempt.
///
/// If a retry is inside of the cleanup layer, the hooks of all attempts share this bound. A hook
/// that a tool registers beyond it is rejected. Hooks of an attempt with a layer inside of the
/// retry that do not fit run at the end of their attempt.
pub const MAX_HOOKS: usize = 64;

/// The default limit of a hook. Cleanup layers can set another one.
pub const DEFAULT_HOOK_LIMIT: Duration = Duration::from_secs(5);

pub(super) type Hook = Box<dyn FnOnce(CleanupEnd) -> HookFuture + Send>;
pub(super) type HookFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The result of registering a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Registered {
    /// The hook runs when the call ends.
    Held,
    /// The call has ended already. The hook runs at once.
    RunsNow,
    /// The attempt already has [`MAX_HOOKS`] hooks. The hook was dropped, and does not run.
    Rejected,
}

/// Counts the results of hooks.
pub trait HookCounter: Send + 'static {
    /// A hook completed.
    fn ran(&self);
    /// A hook panicked, or its limit expired.
    fn failed(&self);
    /// A number of hooks did not run or did not complete, because the runtime was shut down.
    fn abandoned(&self, hooks: usize);
}

/// Runs the hooks of calls whose end a layer does not observe. See
/// [`Part::run_hooks_with`](crate::Part::run_hooks_with).
pub trait RunHooks: fmt::Debug + Send + Sync + 'static {
    /// Runs the hooks.
    fn run_hooks(&self, hooks: Hooks, end: CleanupEnd);
}

/// The hooks of a call, and its tasks, which end before the hooks run.
///
/// One box: it moves from the context of the call to the task that runs the hooks (`storm`).
#[derive(Default)]
pub struct Hooks(Box<Parts>);

#[derive(Default)]
struct Parts {
    /// Most calls have one hook: it needs no list (`storm`).
    first: Option<Hook>,
    more: Vec<Hook>,
    runtime: Option<Handle>,
    /// Awaited before the first hook runs.
    tasks: Tasks,
    /// Dropped when the hooks and the tasks have ended.
    permits: KeptPermits,
    /// Boxed, since few calls are observed (`storm`).
    observed: Option<Box<Observed>>,
}

/// What reports how the hooks end.
pub(super) struct Observed {
    pub(super) reporter: Reporter,
    /// When the hook that runs was started.
    pub(super) since: Instant,
}

/// Counts nothing. Abandoned hooks are traced nevertheless.
struct Untracked;

// === impl Registered ===

impl Registered {
    /// Returns the stable name: `held`, `runs_now` or `rejected`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::RunsNow => "runs_now",
            Self::Rejected => "rejected",
        }
    }
}

impl fmt::Display for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

// === impl Hooks ===

impl Hooks {
    /// Returns whether there is nothing to run.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0 && self.0.tasks.is_empty()
    }

    /// Returns the runtime on which the first hook was registered, otherwise the current one.
    #[must_use]
    pub fn runtime(&self) -> Option<Handle> {
        let runtime = self.0.runtime.clone();
        runtime.or_else(|| Handle::try_current().ok())
    }

    /// Runs the hooks one after the other, last in first out.
    ///
    /// It first waits until the tasks of the call have ended, up to `limit`. Each hook may take up
    /// to `limit`. A hook that panics or expires is traced, and the others run.
    ///
    /// If `stop` completes, or the future is dropped, the remaining hooks are abandoned, and
    /// `counter` counts them. The future completes after all tasks have ended, including tasks that
    /// block their thread. Then it releases the permits that are held until all has ended.
    pub fn run<T: HookCounter>(
        self,
        end: CleanupEnd,
        limit: Duration,
        counter: T,
        stop: impl Future<Output = ()> + Send,
    ) -> impl Future<Output = ()> + Send {
        let end = end.with_permits(&self.0.permits);
        RunningHooks::new(self, end, limit, counter, stop).in_current_span()
    }

    /// Takes the hook that was added last.
    pub(super) fn pop(&mut self) -> Option<Hook> {
        let Parts { first, more, .. } = &mut *self.0;
        more.pop().or_else(|| first.take())
    }

    /// Reports to `reporter` how the hooks end.
    pub(super) fn observe(&mut self, reporter: Option<Reporter>) {
        self.0.observed = reporter.map(|reporter| {
            let since = Instant::now();
            Box::new(Observed { reporter, since })
        });
    }

    pub(super) fn observed(&mut self) -> Option<&mut Observed> {
        self.0.observed.as_deref_mut()
    }

    /// Returns the number of hooks.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Drops all hooks.
    pub(super) fn clear(&mut self) {
        self.0.first = None;
        self.0.more.clear();
    }

    /// Adds a hook, or returns it if there are too many.
    pub(super) fn push(&mut self, hook: Hook) -> Option<Hook> {
        if self.len() >= MAX_HOOKS {
            return Some(hook);
        }
        self.push_internal(hook);
        None
    }

    /// Adds a hook of a layer, without a bound: there are few of them.
    pub(super) fn push_internal(&mut self, hook: Hook) {
        self.remember_runtime();
        self.0.push(hook);
    }

    fn remember_runtime(&mut self) {
        if self.0.runtime.is_none() {
            self.0.runtime = Handle::try_current().ok();
        }
    }

    /// Returns the tasks.
    pub(super) fn tasks(&mut self) -> &mut Tasks {
        &mut self.0.tasks
    }

    /// Returns the permits that the hooks and the tasks keep until all of them have ended.
    pub(super) fn permits(&mut self) -> &mut KeptPermits {
        &mut self.0.permits
    }

    pub(super) fn push_task(&mut self, depth: u32, task: JoinHandle<()>) {
        self.remember_runtime();
        self.0.tasks.push(depth, task);
    }

    /// Moves the hooks and tasks of an attempt here if all of them fit; returns whether they do.
    pub(super) fn append(&mut self, hooks: &mut Self) -> bool {
        let (all, more) = (&mut *self.0, &mut *hooks.0);
        let room = all.len() + more.len() <= MAX_HOOKS && all.tasks.has_room(more.tasks.len());
        if room {
            let hooks = more.first.take().into_iter().chain(more.more.drain(..));
            hooks.for_each(|hook| all.push(hook));
            all.tasks.append(&mut more.tasks);
            all.permits.add_all(&more.permits);
            all.runtime = all.runtime.take().or(more.runtime.take());
        }
        room
    }

    /// Runs the hooks on a detached task, for a call without a cleanup layer.
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
        let mut hooks = Self::default();
        hooks.0.push(hook);
        hooks
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("len", &self.len())
            .field("tasks", &self.0.tasks.len())
            .finish_non_exhaustive()
    }
}

// === impl Parts ===

impl Parts {
    fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.len()
    }

    fn push(&mut self, hook: Hook) {
        match &self.first {
            None if self.more.is_empty() => self.first = Some(hook),
            _ => self.more.push(hook),
        }
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        if self.len() > 0 {
            tracing::warn!(
                hooks = self.len(),
                "cleanup hooks were dropped without being run"
            );
        }
    }
}

// === impl Untracked ===

impl HookCounter for Untracked {
    fn ran(&self) {}
    fn failed(&self) {}
    fn abandoned(&self, _: usize) {}
}

/// Boxes a hook. It runs in the current span, wherever its call ends.
pub(super) fn hook<F, Fut>(hook: F) -> Hook
where
    F: FnOnce(CleanupEnd) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let span = Span::current();
    match span.is_none() {
        true => Box::new(|end| Box::pin(hook(end))),
        false => Box::new(move |end| {
            let running = span.in_scope(|| hook(end));
            Box::pin(running.instrument(span))
        }),
    }
}

/// Rejects a hook. Called without a lock: the destructor of the hook may run any code.
pub(super) fn reject(hook: Hook) -> Registered {
    drop(hook);
    tracing::warn!(limit = MAX_HOOKS, "a cleanup hook was rejected: too many");
    Registered::Rejected
}
