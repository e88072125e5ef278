//! Cleanup hooks: what a call left behind to be done after it, and how it is done.

use std::any::Any;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;
use tracing::Instrument;

use crate::answer::Partial;
use crate::outcome::Outcome;

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
    Refused,
}

/// What a cleanup hook is told.
#[derive(Debug, Clone)]
pub struct CleanupEnd {
    outcome: Outcome,
    partial: Option<Arc<Partial>>,
}

/// Who counts what becomes of hooks.
pub trait Tally: Send + 'static {
    /// A hook ran to its end.
    fn ran(&self);
    /// A hook panicked, or was stopped at its limit.
    fn failed(&self);
    /// So many hooks did not run, or not to their end: there was no runtime left to run them.
    fn abandoned(&self, hooks: usize);
}

/// The hooks of a call, for whoever runs them.
#[derive(Default)]
pub struct Hooks {
    list: Vec<Hook>,
    runtime: Option<Handle>,
}

/// Hooks on their way to being run: what is dropped unrun counts as abandoned.
struct Batch<T: Tally> {
    list: Vec<Hook>,
    running: bool,
    tally: T,
}

/// Counts nothing: abandoned hooks are traced all the same.
struct Untracked;

// === impl CleanupEnd ===

impl CleanupEnd {
    /// An end, as one layer saw it.
    #[must_use]
    pub const fn new(outcome: Outcome, partial: Option<Arc<Partial>>) -> Self {
        Self { outcome, partial }
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
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The runtime on which the first hook was registered, or else the current one.
    #[must_use]
    pub fn runtime(&self) -> Option<Handle> {
        self.runtime.clone().or_else(|| Handle::try_current().ok())
    }

    /// Runs the hooks one after the other, last in first out, each for `limit` at most. A hook that
    /// panics or overruns is reported, and stops no other.
    ///
    /// Dropping the future abandons the hooks that have not run to their end, and says so to `tally`.
    pub fn run<T: Tally>(
        self,
        end: CleanupEnd,
        limit: Duration,
        tally: T,
    ) -> impl Future<Output = ()> + Send {
        let mut batch = Batch {
            list: self.list,
            running: false,
            tally,
        };
        async move {
            while let Some(hook) = batch.list.pop() {
                batch.running = true;
                let end = end.clone();
                let done =
                    tokio::time::timeout(limit, caught(async move { hook(end).await })).await;
                batch.running = false;
                match done {
                    Ok(Ok(())) => batch.tally.ran(),
                    Ok(Err(panic)) => {
                        tracing::warn!(panic = panic_text(&*panic), "a cleanup hook panicked");
                        batch.tally.failed();
                    }
                    Err(_) => {
                        tracing::warn!(?limit, "a cleanup hook was stopped at its limit");
                        batch.tally.failed();
                    }
                }
            }
        }
        .in_current_span()
    }

    pub(super) fn push(&mut self, hook: Hook) -> Registered {
        if self.list.len() >= MAX_HOOKS {
            tracing::warn!(limit = MAX_HOOKS, "a cleanup hook was refused: too many");
            return Registered::Refused;
        }
        if self.runtime.is_none() {
            self.runtime = Handle::try_current().ok();
        }
        self.list.push(hook);
        Registered::Held
    }

    /// Takes over the hooks of an attempt, if there is room for all; else leaves them where they are.
    pub(super) fn append(&mut self, hooks: &mut Self) -> bool {
        let room = self.list.len() + hooks.list.len() <= MAX_HOOKS;
        if room {
            self.list.append(&mut hooks.list);
            self.runtime = self.runtime.take().or(hooks.runtime.take());
        }
        room
    }

    /// Runs the hooks where no cleanup layer does: on a task that nobody waits for.
    pub(super) fn run_untracked(self, end: CleanupEnd) {
        let runtime = self.runtime();
        let run = self.run(end, DEFAULT_HOOK_LIMIT, Untracked);
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
        }
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("len", &self.list.len())
            .finish_non_exhaustive()
    }
}

impl<T: Tally> Drop for Batch<T> {
    fn drop(&mut self) {
        let hooks = self.list.len() + usize::from(self.running);
        if hooks > 0 {
            tracing::warn!(hooks, "cleanup hooks were abandoned");
            self.tally.abandoned(hooks);
        }
    }
}

impl Tally for Untracked {
    fn ran(&self) {}
    fn failed(&self) {}
    fn abandoned(&self, _: usize) {}
}

/// The future's output, or the panic that ended it.
async fn caught(future: impl Future<Output = ()>) -> Result<(), Box<dyn Any + Send>> {
    let mut future = std::pin::pin!(future);
    poll_fn(
        |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        },
    )
    .await
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "not a text",
    }
}
