mod layers;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use tokio::time::Instant;

pub use self::layers::Reading;
use super::Name;
use super::attempt::Attempt;
use super::canceller::Canceller;
use super::cleanup::{CleanupEnd, Registered};
use super::clock::Moment;
use super::settings::{More, Settings};
use crate::outcome::{CancelReason, Outcome};
use crate::response::{Checkpointed, Content, Partial};

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

// === impl CallContext ===

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
