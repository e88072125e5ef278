use std::fmt;
use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;
use triomphe::Arc;

use super::attempt::{Attempt, AttemptHandle};
use super::canceller::Canceller;
use super::cleanup::{self, Registered};
use super::clock::Moment;
use super::settings::Settings;
use super::updates::DEFAULT_CAPACITY;
use super::{CleanupEnd, Name, Updates};
use crate::outcome::{CancelReason, Outcome};
use crate::response::{Checkpointed, Content, Partial};

/// The context that travels with a call: what a tool reads, publishes and registers.
///
/// A clone is another handle to the same attempt. It may outlive the call: then what it publishes
/// is ignored, and a hook that it registers runs at once.
///
/// ```
/// use toolbooth_core::{Content, Outcome, ToolCall};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let call = ToolCall::new("search", serde_json::json!({ "pattern": "TODO" }));
/// let context = call.context().clone();
/// assert_eq!(context.tool(), "search");
/// assert_eq!(context.remaining(), None);
/// context.emit(Content::from("src/lib.rs:3")); // kept if there is a partial-result layer
/// context.on_cleanup(|outcome| async move { assert_eq!(outcome, Outcome::Cancelled) });
/// # }
/// ```
#[derive(Clone)]
pub struct CallContext {
    attempt: AttemptHandle,
}

// === impl CallContext ===

impl CallContext {
    /// Creates the context of a new call without settings.
    #[inline(always)]
    pub(super) fn new(tool: Name) -> Self {
        Self {
            attempt: Attempt::begin(tool),
        }
    }

    /// Creates the context of a new call with these settings.
    pub(super) fn with_settings(settings: Settings) -> Self {
        Self {
            attempt: AttemptHandle::new(Attempt::first(settings)),
        }
    }

    /// Returns the id of the call: the caller's, or `call-` and a number unique in this process.
    /// All attempts of a call have the same id.
    #[must_use]
    pub fn id(&self) -> Name {
        self.attempt.id()
    }

    /// Returns the number of this attempt of the call, from 1, in the order in which attempts are
    /// called. An attempt that has not been called yet gets its number here.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt.number()
    }

    /// Returns the name of the tool.
    #[must_use]
    pub fn tool(&self) -> &str {
        &self.settings().tool
    }

    /// Returns the tenant on whose behalf the call is made, if set.
    #[must_use]
    pub fn tenant(&self) -> Option<&str> {
        self.settings().tenant.as_deref()
    }

    /// Returns the priority set by the caller: higher goes first, 0 by default.
    #[must_use]
    pub fn priority(&self) -> i32 {
        self.settings().priority
    }

    /// Returns the caller's idempotency hint, if set.
    #[must_use]
    pub fn idempotent(&self) -> Option<bool> {
        self.settings().idempotent
    }

    /// Returns true if the caller set that running the call twice does no more than running it
    /// once.
    #[must_use]
    pub fn is_idempotent(&self) -> bool {
        self.idempotent() == Some(true)
    }

    /// Returns the key by which a layer recognizes a repeated call, if set.
    #[must_use]
    pub fn idempotency_key(&self) -> Option<&str> {
        self.settings().rare()?.idempotency_key.as_deref()
    }

    /// Returns the value of this type that the caller attached, otherwise the one that the
    /// innermost layer around has [provided](crate::Part::provide).
    #[must_use]
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&T> {
        let provided = || self.attempt.provided();
        self.settings().extension().or_else(provided)
    }

    /// Returns when the call expires at the latest: at the caller's deadline or at the limit of an
    /// outer layer, whichever comes first.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.attempt.bound().map(|bound| bound.at().instant())
    }

    /// Returns the time until the [`deadline`](Self::deadline), zero once it has passed.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        let bound = self.attempt.bound()?;
        Some(bound.at().since(self.attempt.now()))
    }

    /// Returns the time since the outermost layer was called, zero before.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.elapsed_at(self.attempt.now())
    }

    pub(super) fn elapsed_at(&self, now: Moment) -> Duration {
        let started = self.started();
        started.map_or(Duration::ZERO, |started| now.since(started))
    }

    /// Returns a copy of what is kept so far of this attempt, otherwise of the call. `None` if
    /// nothing is kept.
    #[must_use]
    pub fn partial(&self) -> Option<Partial> {
        self.attempt
            .partials(|partials, attempt| partials.copy(attempt))
    }

    /// Returns what the call publishes from now on while it runs, as a stream: see [`Updates`].
    ///
    /// It has the updates of this attempt, of the attempts that a retry makes within its layers,
    /// and of clones of the call that are made afterwards. So a stream taken before the call is
    /// made has all attempts, whatever is set with `with_*` afterwards. A [child](Self::child) call
    /// has updates of its own.
    ///
    /// It ends when the outermost layer of each of these attempts has ended, before that layer
    /// returns the outcome. A clone that is not made ends when it is dropped, such as the one that
    /// a retry outside of all layers keeps. A call without layers ends with the last handle to its
    /// context. After the end of the call, the stream is empty.
    ///
    /// Each stream that is taken has a queue of its own, and receives everything. For an
    /// `http::Request`, take it from [`ToolRequest::context`](crate::ToolRequest::context).
    pub fn updates(&self) -> Updates {
        self.updates_with_capacity(DEFAULT_CAPACITY)
    }

    /// Returns the same as [`updates`](Self::updates), with a queue of `capacity` updates, at least
    /// 1.
    pub fn updates_with_capacity(&self, capacity: usize) -> Updates {
        let (sender, updates) = Updates::new(capacity);
        self.attempt.add_reader(sender);
        updates
    }

    /// Stores a checkpoint, from which the next attempt of this call
    /// [resumes](Self::last_checkpoint). The last one wins. It is also a
    /// [`heartbeat`](Self::heartbeat). Never waits.
    ///
    /// It needs no layer. A checkpoint larger than [`MAX_CHECKPOINT`](crate::MAX_CHECKPOINT),
    /// 1 MiB, is not stored, and the one before stays. From an attempt that is over it is ignored.
    ///
    /// Any handle to the call's context returns it, also after the call. So a caller can save it,
    /// and store it in another call before making that:
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

    /// Returns a copy of the last [checkpoint](Self::checkpoint) of this call, from any attempt.
    #[must_use]
    pub fn last_checkpoint(&self) -> Option<Content> {
        self.attempt.partials(|partials, _| partials.checkpoint())
    }

    /// Returns true if something other than the tool cancelled the call.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancel_reason().is_some()
    }

    /// Returns why the call was cancelled, if it was.
    #[must_use]
    pub fn cancel_reason(&self) -> Option<CancelReason> {
        self.attempt.cancelled_outside(u32::MAX)
    }

    /// Waits until the call is cancelled or over: its result is not used any more.
    ///
    /// # Cancel safety
    /// Safe: dropping the future loses nothing.
    pub async fn cancelled(&self) {
        self.attempt.gone().await;
    }

    /// Registers a hook that runs exactly once when this attempt ends, however it ends.
    ///
    /// Hooks run last in first out, do not delay the caller, and each runs for 5 s at most unless
    /// the cleanup layer sets another limit. A hook runs in the tracing span that is current here.
    /// Task-locals are not carried.
    ///
    /// The innermost cleanup layer that sees the end runs the hook. Without one, the outermost of
    /// our layers runs it on a task that nothing waits for. Without any layer, the last handle to
    /// this context runs it when dropped, with [`Outcome::Cancelled`], since the outcome is not
    /// known. A hook that captures its context then keeps itself alive:
    /// [`on_cleanup_with`](Self::on_cleanup_with) avoids that.
    pub fn on_cleanup<F, Fut>(&self, hook: F) -> Registered
    where
        F: FnOnce(Outcome) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.on_cleanup_with(|end| hook(end.outcome()))
    }

    /// Registers a hook like [`on_cleanup`](Self::on_cleanup), which also gets the partial result.
    pub fn on_cleanup_with<F, Fut>(&self, hook: F) -> Registered
    where
        F: FnOnce(CleanupEnd) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.attempt.register(cleanup::hook(hook))
    }

    /// Makes cleanup wait for `ended` before the first hook runs, within the limit of one hook.
    ///
    /// For tools and layers that end something after the call. It takes none of the
    /// [`MAX_HOOKS`](crate::MAX_HOOKS) entries, so call it once for each attempt.
    pub fn cleanup_waits_for(&self, ended: impl Future<Output = ()> + Send + 'static) {
        self.attempt.register_internal(cleanup::hook(|_| ended));
    }

    /// Charges the actual cost of this attempt to a limit, in place of the cost that it was charged
    /// when it was admitted.
    ///
    /// For a cost that is known only afterwards, such as the tokens that a language model used. It
    /// applies to each limit around the attempt whose cost is adjustable and whose layer has this
    /// name. A rate limit has the option `with_adjustable_cost`. Its name is `rate`, or the one
    /// that `with_name` sets. Returns false if there is no such limit.
    ///
    /// A higher cost is charged now, and is a debt of at most one full bucket if there are not
    /// enough tokens: later calls wait for longer. Of a lower one, the rest is refunded, except for
    /// what has refilled by itself since. The last value counts. An attempt inside of a retry
    /// adjusts a limit outside, too, which charges the call as a whole.
    ///
    /// It may be called until the last handle to the context is dropped, also after the call.
    #[expect(
        clippy::must_use_candidate,
        reason = "called for its effect; the result is optional"
    )]
    pub fn adjust_cost(&self, limit: &str, actual: u32) -> bool {
        self.attempt.adjust_cost(limit, actual.into())
    }

    /// Creates another attempt of the same call.
    #[must_use]
    pub(crate) fn fork(&self) -> Self {
        Self {
            attempt: AttemptHandle::new(Attempt::fork(&self.attempt)),
        }
    }

    /// Changes the settings of the call. On a context with other handles, those of a fork.
    pub(super) fn configure(&mut self, change: impl FnOnce(&mut Settings)) {
        if let Some(attempt) = AttemptHandle::get_mut(&mut self.attempt) {
            return change(&mut attempt.settings);
        }
        let mut fork = Attempt::fork(&self.attempt);
        change(&mut fork.settings);
        self.attempt.leave_readers();
        self.attempt = AttemptHandle::new(fork);
    }

    pub(super) fn canceller(&self) -> Canceller {
        Canceller::of(self.attempt.armed_signal())
    }

    /// Returns when the outermost layer was called.
    pub(crate) fn started(&self) -> Option<Moment> {
        self.attempt.started()
    }

    pub(crate) fn kept(&self) -> Option<Arc<Partial>> {
        self.attempt.partials(|partials, _| partials.attach())
    }

    pub(crate) fn serial(&self) -> u64 {
        self.attempt.serial()
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.attempt.settings
    }

    pub(crate) fn tool_name(&self) -> &Name {
        &self.settings().tool
    }

    /// Returns whether this is the only handle. It stays the only one: other threads have none to
    /// clone.
    #[inline]
    pub(crate) fn is_alone(&self) -> bool {
        AttemptHandle::is_unique(&self.attempt)
    }

    /// Drops this handle after the end of the call.
    #[inline]
    pub(crate) fn retire(self) {
        Attempt::retire(self.attempt);
    }

    #[inline]
    pub(crate) const fn attempt_state(&self) -> &AttemptHandle {
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
