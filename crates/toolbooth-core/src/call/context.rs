use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use tokio::time::Instant;

use super::Name;
use super::attempt::Attempt;
use super::canceller::Canceller;
use super::cleanup::{CleanupEnd, Hooks, Registered, RunHooks};
use super::clock::Moment;
use super::settings::{Bound, More, Settings};
use crate::answer::{Checkpointed, Content, Partial};
use crate::outcome::{CancelReason, Outcome};

/// What travels with a call: the tool's view of it, and what layers tell each other.
///
/// A clone is another handle to the same attempt. It may outlive the call: then what it publishes
/// goes nowhere, and a hook that it registers runs at once.
///
/// ```
/// use toolbooth_core::{Content, Outcome, ToolCall};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let call = ToolCall::new("search", serde_json::json!({ "pattern": "TODO" }));
/// let context = call.context().clone();
/// assert_eq!(context.tool(), "search");
/// assert_eq!(context.remaining(), None);
/// context.emit(Content::from("src/lib.rs:3")); // kept where a partial-result layer stands around
/// context.on_cleanup(|outcome| async move { assert_eq!(outcome, Outcome::Cancelled) });
/// # }
/// ```
#[derive(Clone)]
pub struct CallContext {
    attempt: Arc<Attempt>,
}

/// While it lives, its context answers [`CallContext::now`] without looking at the clock.
#[must_use = "the reading is carried until this is dropped"]
#[derive(Debug)]
pub struct Reading<'a>(Option<&'a CallContext>);

// === impl CallContext: the tool's side ===

impl CallContext {
    /// The context of a new call.
    #[inline(always)]
    pub(crate) fn new(tool: Name) -> Self {
        Self {
            attempt: Attempt::begin(tool),
        }
    }

    pub(super) fn of(settings: Settings) -> Self {
        Self {
            attempt: Arc::new(Attempt::first(settings)),
        }
    }

    /// The id of the call: the caller's, or else `call-` and a number that no other call of this
    /// process has. All attempts of a call have the same.
    #[must_use]
    pub fn id(&self) -> Name {
        self.attempt.id()
    }

    /// Which attempt of the call this is, from 1, in the order in which they are called. One that
    /// has not been called yet gets its number by being asked for it.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt.number()
    }

    /// The name of the tool.
    #[must_use]
    pub fn tool(&self) -> &str {
        &self.attempt.settings.tool
    }

    /// On whose behalf the call is made.
    #[must_use]
    pub fn tenant(&self) -> Option<&str> {
        self.more()?.tenant.as_deref()
    }

    /// The priority that the caller gave: higher goes first, 0 where none was given.
    #[must_use]
    pub fn priority(&self) -> i32 {
        self.more().map_or(0, |more| more.priority)
    }

    /// Whether the caller said that running the call twice does no more than running it once.
    #[must_use]
    pub fn is_idempotent(&self) -> bool {
        self.idempotent() == Some(true)
    }

    /// A value that the caller sent along.
    #[must_use]
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.more()?.get()
    }

    /// When the call is cut at the latest: the caller's deadline or the limit of a layer around, whichever comes first.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.bound().map(|bound| bound.at().instant())
    }

    /// The time until the [`deadline`](Self::deadline), zero when it is past.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.bound().map(|bound| bound.at().since(self.now()))
    }

    /// The time since the outermost layer was called; zero before.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        match self.started() {
            Some(started) => self.now().since(started),
            None => Duration::ZERO,
        }
    }

    /// A copy of what is kept so far of this attempt, or else of the call; `None` if nothing.
    #[must_use]
    pub fn partial(&self) -> Option<Partial> {
        self.attempt
            .partials(|partials, attempt| partials.copy(attempt))
    }

    /// Leaves word for the next attempt of this call, which [reads](Self::last_checkpoint) it and goes on from there: the last one wins; a
    /// [`heartbeat`](Self::heartbeat), too. Never waits.
    ///
    /// It needs no layer. It may have [`MAX_CHECKPOINT`](crate::MAX_CHECKPOINT) bytes, 1 MiB; one that is larger is not kept, and the one before stays.
    /// From an attempt that is over it goes nowhere.
    ///
    /// Any handle of the call's context gives it back, also after the call; so a caller can keep it, and give it to another call before making it:
    ///
    /// ```
    /// use serde_json::json;
    /// use toolbooth_core::{Checkpointed, Content, ToolCall};
    ///
    /// let first = ToolCall::new("import", json!({ "rows": 100 }));
    /// let context = first.context().clone();
    /// # context.checkpoint(json!(60));
    /// // .. `first` is made, and fails after 60 rows ..
    /// let saved = context.last_checkpoint();
    ///
    /// let later = ToolCall::new("import", json!({ "rows": 100 }));
    /// if let Some(saved) = saved {
    ///     assert_eq!(later.context().checkpoint(saved), Checkpointed::Kept);
    /// }
    /// assert_eq!(later.context().last_checkpoint(), Some(Content::Json(json!(60))));
    /// ```
    pub fn checkpoint(&self, content: impl Into<Content>) -> Checkpointed {
        self.heartbeat();
        self.attempt.checkpoint(content.into())
    }

    /// A copy of the last [checkpoint](Self::checkpoint) of this call, whichever attempt made it.
    #[must_use]
    pub fn last_checkpoint(&self) -> Option<Content> {
        self.attempt.partials(|partials, _| partials.checkpoint())
    }

    /// Whether the call was cut short from outside of the tool.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancel_reason().is_some()
    }

    /// Why the call was cut short from outside of the tool.
    #[must_use]
    pub fn cancel_reason(&self) -> Option<CancelReason> {
        self.attempt.cancelled_outside(u32::MAX)
    }

    /// Waits until the call is cut short, or is over: until nobody waits for its work any more.
    ///
    /// # Cancel safety
    /// Safe: dropping the future loses nothing.
    pub async fn cancelled(&self) {
        self.attempt.gone().await;
    }

    /// The means by which the call's owner cancels it: see [`Canceller`].
    ///
    /// Taken before the call is made it cuts the call at once, from any thread. The first one of a call that is taken while the call is being made or
    /// waits is noticed when the call is next polled.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        Canceller::new(self.attempt.signal())
    }

    /// Registers work to be done when this attempt ends, however it ends: exactly once, the last
    /// registered first, without making the caller wait, and for 5 s at most unless the cleanup layer says otherwise.
    ///
    /// The innermost cleanup layer that sees the end runs it. Where there is none, the outermost of
    /// our layers does, and nobody waits for it; where there is no layer at all, the last handle of
    /// this context does, with [`Outcome::Cancelled`], since nobody saw how it ended: then a hook
    /// that captured its context keeps itself alive; [`on_cleanup_with`](Self::on_cleanup_with) avoids that.
    pub fn on_cleanup<F, Fut>(&self, hook: F) -> Registered
    where
        F: FnOnce(Outcome) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.on_cleanup_with(|end| hook(end.outcome()))
    }

    /// As [`on_cleanup`](Self::on_cleanup), for a hook that wants the partial result as well.
    pub fn on_cleanup_with<F, Fut>(&self, hook: F) -> Registered
    where
        F: FnOnce(CleanupEnd) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.attempt.register(Box::new(|end| Box::pin(hook(end))))
    }
}

// === impl CallContext: the layers' side ===

impl CallContext {
    /// For layers: the reading of the clock that an outer layer carried here in this same
    /// synchronous stretch, or else a new one.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.attempt.now()
    }

    /// For layers: the limit by which the call is cut at the latest.
    #[must_use]
    pub fn bound(&self) -> Option<Bound> {
        self.attempt.bound()
    }

    /// For layers: the limit that the caller's own deadline is, if it has passed by `now`.
    #[inline]
    pub fn past_deadline(&self, now: impl FnOnce() -> Moment) -> Option<Bound> {
        let deadline = self.attempt.deadline()?;
        (deadline <= now()).then(|| self.attempt.bound_of_caller(deadline))
    }

    /// For what makes calls again: whether running this one twice does no more than running it once, where the caller said so or not so.
    #[must_use]
    pub fn idempotent(&self) -> Option<bool> {
        self.more()?.idempotent
    }

    /// For timeout layers: the limit that the caller gave this call.
    #[must_use]
    #[inline]
    pub fn timeout(&self) -> Option<Duration> {
        self.more()?.timeout
    }

    /// For layers that have [entered](Self::enter), or inside of one that has: whether this is the usual call, of which nobody
    /// said more than the tool's name and the call's id, and which nobody can cut from outside of all layers. It has no deadline, no limits and no
    /// priority of its own, no call made it, and it is the first attempt.
    #[must_use]
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.attempt.is_plain()
    }

    /// For layers: whether another layer stands around.
    #[must_use]
    #[inline]
    pub fn is_entered(&self) -> bool {
        self.attempt.is_entered()
    }

    /// For timeout layers: how long the caller lets this call be idle.
    #[must_use]
    #[inline]
    pub fn idle_timeout(&self) -> Option<Duration> {
        self.more()?.idle_timeout
    }

    /// For timeout layers: how long the caller waits for the first item of this call.
    #[must_use]
    #[inline]
    pub fn first_item_timeout(&self) -> Option<Duration> {
        self.more()?.first_item_timeout
    }

    /// For layers: whether a timeout layer stands around, which enforces [`bound`](Self::bound).
    #[must_use]
    pub fn is_timed(&self) -> bool {
        self.attempt.is_timed()
    }

    /// For timeout layers: takes note of one; true for the outermost.
    #[must_use]
    pub fn enter_timeout(&self) -> bool {
        self.attempt.enter_timeout()
    }

    /// For layers that run what is further in on a task: called before that starts. How many layers stand around the task.
    #[must_use]
    pub fn enter_task(&self) -> u32 {
        self.attempt.enter_task()
    }

    /// For layers that run what is further in on a task, with the depth that [`enter_task`](Self::enter_task) gave: it was
    /// cut, and goes on until the task has stopped. Cleanup waits for that before the first hook runs. Where a cleanup layer stands
    /// further in, it begins with this now, since its part of the call ends only with the task.
    pub fn outlived_by(&self, depth: u32, stopped: impl Future<Output = ()> + Send + 'static) {
        self.cleanup_waits_for(stopped);
        let reason = self.cancel_reason().unwrap_or(CancelReason::CallerGone);
        self.attempt.run_hooks_inside(depth, reason.outcome());
    }

    /// For layers and for tools that end something behind the call: cleanup waits for it, as for a hook, which takes no room
    /// among the [`MAX_HOOKS`](crate::MAX_HOOKS) of the call. Once for each attempt, since nothing else bounds it.
    pub fn cleanup_waits_for(&self, ended: impl Future<Output = ()> + Send + 'static) {
        self.attempt.register_ours(Box::new(|_| Box::pin(ended)));
    }

    /// For cleanup layers: where this call runs on a task, who runs its hooks [if the task outlives it](Self::outlived_by).
    pub fn run_hooks_with<R: RunHooks>(&self, runner: &Arc<R>) {
        self.attempt.run_hooks_with(runner);
    }

    /// For timeout layers: what is further in ends by `bound`.
    pub fn narrow(&self, bound: Bound) {
        self.attempt.narrow(bound);
    }

    /// For cleanup layers, at the end: the hooks registered so far, which are then theirs to run, and the tasks that were
    /// started, which are told to stop; `None` where there are neither.
    #[must_use]
    #[inline]
    pub fn take_hooks(&self) -> Option<Hooks> {
        self.attempt.take_hooks()
    }

    /// For cleanup layers: what hooks are told of a call that ended so.
    #[must_use]
    pub fn cleanup_end(&self, outcome: Outcome) -> CleanupEnd {
        self.attempt.cleanup_end(outcome)
    }

    /// For layers: what an error of this call takes along.
    #[must_use]
    pub fn kept(&self) -> Option<Arc<Partial>> {
        self.attempt.partials(|partials, _| partials.attach())
    }

    /// Another attempt of the same call.
    #[must_use]
    pub(crate) fn fork(&self) -> Self {
        Self {
            attempt: Arc::new(self.attempt.fork()),
        }
    }

    /// Changes what the caller says of the call; on a context that is in use elsewhere, of another attempt.
    pub(super) fn configure(&mut self, change: impl FnOnce(&mut Settings)) {
        if let Some(attempt) = Arc::get_mut(&mut self.attempt) {
            return change(&mut attempt.settings);
        }
        let mut fork = self.attempt.fork();
        change(&mut fork.settings);
        self.attempt = Arc::new(fork);
    }

    /// When the outermost layer was called.
    pub(crate) fn started(&self) -> Option<Moment> {
        self.attempt.started()
    }

    fn more(&self) -> Option<&More> {
        self.attempt.settings.more()
    }

    pub(crate) fn serial(&self) -> u64 {
        self.attempt.serial()
    }

    pub(crate) fn tool_name(&self) -> &Name {
        &self.attempt.settings.tool
    }

    /// Whether this is the only handle. It stays so, as no other thread has one to clone.
    pub(crate) fn is_alone(&self) -> bool {
        let alone = Arc::strong_count(&self.attempt) == 1 && Arc::weak_count(&self.attempt) == 0;
        // What the last other handle wrote before it was dropped is seen from here on.
        fence(Ordering::Acquire);
        alone
    }

    /// The call is over, and this is its handle: where it is the last one, its memory is used again.
    #[inline]
    pub(crate) fn retire(self) {
        if self.is_alone() {
            Attempt::retire(self.attempt);
        }
    }

    pub(crate) const fn attempt_state(&self) -> &Arc<Attempt> {
        &self.attempt
    }
}

impl fmt::Debug for CallContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallContext")
            .field("id", &self.id())
            .field("tool", &self.tool())
            .field("cancelled", &self.cancel_reason())
            .finish_non_exhaustive()
    }
}

// === impl Reading ===

impl<'a> Reading<'a> {
    /// Carries a reading to whatever is called meanwhile.
    pub(crate) fn carry(context: &'a CallContext, now: Moment) -> Self {
        context.attempt.carry_reading(Some(now));
        Self(Some(context))
    }

    /// Carries none.
    pub(crate) const fn none() -> Self {
        Self(None)
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        if let Some(context) = self.0 {
            context.attempt.carry_reading(None);
        }
    }
}
