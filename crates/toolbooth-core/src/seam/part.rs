use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{End, Item};
use crate::call::{Bound, CallContext, CleanupEnd, Hooks, Moment, Pulse, RareSettings, RunHooks};
use crate::error::{ErrorKind, LayerName, ToolError};
use crate::outcome::{CancelReason, Outcome};
use crate::response::{Content, Displaced, Emitted, KeepPolicy};

/// One layer's part of a call: from its `call` to the end of the response.
///
/// A layer [enters](Self::enter) the call first thing in `call`, stores the part in its
/// [`Watch`](crate::Watch), and [ends](Self::end) it there.
#[derive(Debug)]
#[must_use = "a part must be ended"]
pub struct Part {
    pub(super) context: CallContext,
    /// The number of the layer, from 1 for the outermost.
    pub(super) depth: u32,
}

/// A guard while which [`Part::now`] returns a carried reading instead of reading the clock.
#[must_use = "the reading is carried until this is dropped"]
#[derive(Debug)]
pub struct Reading<'a>(Option<&'a CallContext>);

// === impl Part ===

impl Part {
    /// Enters one more layer. The outermost layer starts the call and its clock.
    #[inline(always)]
    pub fn enter(context: &CallContext) -> Self {
        Self {
            depth: context.attempt_state().enter(),
            context: context.clone(),
        }
    }

    /// Ends the part: everything inside is over.
    ///
    /// In this order: an error gets its origin and the partial result; `release` releases what the
    /// layer acquired; the outermost layer runs the hooks that are left.
    #[inline(always)]
    pub fn end(self, mut end: End<'_>, release: impl FnOnce(&Self, &End<'_>)) {
        match &mut end {
            End::Complete => self.mark_ended(Outcome::Completed),
            end => self.end_early(end),
        }
        release(&self, &end);
        if self.depth == 1 {
            self.context.attempt_state().leave_hooks(end.outcome());
            self.context.retire();
        }
    }

    #[cold]
    fn end_early(&self, end: &mut End<'_>) {
        match end {
            End::Dropped(reason) => *reason = self.cancel_dropped(),
            End::Failed(error) => self.adopt(error),
            End::Complete | End::Panicked => {}
        }
        self.mark_ended(end.outcome());
        if let End::Failed(error) = end {
            if let Some(kept) = self.context.kept() {
                error.set_partial(Some(kept));
            }
        }
    }

    fn adopt(&self, error: &mut ToolError) {
        error.adopt(&self.context, !self.is_held_back());
        if error.kind() == ErrorKind::Timeout {
            if let Some(waited) = self.context.attempt_state().take_waited() {
                error.set_waited(waited);
            }
        }
    }

    #[inline(always)]
    fn mark_ended(&self, outcome: Outcome) {
        let attempt = self.context.attempt_state();
        match self.depth {
            1 => attempt.end_outermost(outcome, self.context.is_alone()),
            depth => attempt.end_inner(depth, outcome),
        }
    }

    /// Returns the context of the call.
    #[must_use]
    pub const fn context(&self) -> &CallContext {
        &self.context
    }

    // --- time

    /// Returns the reading of the clock for this synchronous section of the call.
    #[must_use]
    #[inline]
    pub fn now(&self) -> Moment {
        let attempt = self.context.attempt_state();
        match attempt.carried_reading() {
            Some(now) => now,
            None => self.own_reading_or_now(),
        }
    }

    #[cold]
    fn own_reading_or_now(&self) -> Moment {
        let attempt = self.context.attempt_state();
        attempt.own_reading(self.depth).unwrap_or_else(Moment::now)
    }

    /// Carries this part's reading of the clock, if it started the call, to what is called
    /// meanwhile. For the synchronous section of a `call`.
    #[inline]
    pub fn carry(&self) -> Reading<'_> {
        let attempt = self.context.attempt_state();
        match attempt.own_reading(self.depth) {
            Some(started) => Reading::carry(&self.context, started),
            None => Reading(None),
        }
    }

    /// Reads the clock after a wait, and carries the reading to what is called meanwhile.
    pub fn carry_now(&self) -> Reading<'_> {
        Reading::carry(&self.context, Moment::now())
    }

    // --- limits on the time

    /// Returns the limit at which the call expires at the latest.
    #[must_use]
    #[inline]
    pub fn bound(&self) -> Option<Bound> {
        self.context.attempt_state().bound()
    }

    /// Returns the caller's own deadline as a limit, if it has passed.
    #[inline]
    #[must_use]
    pub fn passed_deadline(&self) -> Option<Bound> {
        let attempt = self.context.attempt_state();
        let deadline = attempt.settings.deadline?;
        (deadline <= self.now()).then(|| attempt.bound_of_caller(deadline))
    }

    /// Returns whether there is a timeout layer outside, which enforces [`bound`](Self::bound).
    #[must_use]
    pub fn is_timed(&self) -> bool {
        self.context.attempt_state().is_timed()
    }

    /// Registers a timeout layer. Returns true for the outermost one.
    #[must_use]
    #[inline]
    pub fn enter_timeout(&self) -> bool {
        self.context.attempt_state().enter_timeout()
    }

    /// Sets the limit at which everything inside expires at the latest.
    #[inline]
    pub fn set_bound(&self, bound: Bound) {
        self.context.attempt_state().set_bound(bound);
    }

    /// Returns the total limit that the caller set for this call.
    #[must_use]
    #[inline]
    pub fn timeout(&self) -> Option<Duration> {
        self.rare_settings()?.timeout
    }

    /// Returns the idle limit that the caller set for this call.
    #[must_use]
    #[inline]
    pub fn idle_timeout(&self) -> Option<Duration> {
        self.rare_settings()?.idle_timeout
    }

    /// Returns the limit until the first item that the caller set for this call.
    #[must_use]
    #[inline]
    pub fn first_item_timeout(&self) -> Option<Duration> {
        self.rare_settings()?.first_item_timeout
    }

    #[inline]
    fn rare_settings(&self) -> Option<&RareSettings> {
        self.context.settings().rare()
    }

    /// Returns the activity of all inner layers and of the tool, from `start` on.
    #[must_use]
    pub fn pulse(&self, start: Moment) -> Arc<Pulse> {
        let pulse = Arc::new(Pulse::new(start));
        self.context.attempt_state().listen(Arc::clone(&pulse));
        pulse
    }

    // --- the tool

    /// Sets whether the tool of the call is idempotent, for authors of registries of tools.
    ///
    /// A retry policy, inside or outside of the registry, applies it to calls whose caller and
    /// policy set nothing: see [`ToolRequest::idempotent`](crate::ToolRequest::idempotent).
    #[inline]
    pub fn set_tool_is_idempotent(&self, is_idempotent: bool) {
        let attempt = self.context.attempt_state();
        attempt.set_tool_is_idempotent(is_idempotent);
    }

    // --- cancellation

    /// Returns the reason if the call was cancelled before it is started. For a layer that is not
    /// the outermost, `None`.
    #[must_use]
    #[inline]
    pub fn cancelled_before_start(&self) -> Option<CancelReason> {
        let attempt = self.context.attempt_state();
        attempt.cancelled_before_start(self.depth)
    }

    /// Polls for cancellation by a [`Canceller`](crate::Canceller), which ends the call at its
    /// outermost layer. Call it when the inner future is pending. Always pending for other layers.
    #[inline]
    pub fn poll_cancelled(&self, cx: &mut Context<'_>) -> Poll<CancelReason> {
        let attempt = self.context.attempt_state();
        attempt.poll_cancelled(self.depth, cx)
    }

    /// Returns the token by which a streaming response ends at this layer, if it does.
    pub(super) fn token(&self) -> Option<&CancellationToken> {
        self.context.attempt_state().ends_by_signal(self.depth)
    }

    /// Cancels everything inside because this limit of the layer of this name expired. Events of
    /// the layers inside name both.
    pub fn expire(&self, layer: &LayerName, bound: Bound) {
        let attempt = self.context.attempt_state();
        attempt.expire(self.depth, layer, bound);
    }

    /// Cancels everything inside. If a limit expired, [`expire`](Self::expire) does.
    pub fn cancel(&self, reason: CancelReason) {
        self.context.attempt_state().cancel(self.depth, reason);
    }

    /// Cancels everything inside because this part was dropped, unless something outside cancelled
    /// it already. Returns the reason. Call it before the inner future is dropped.
    #[expect(
        clippy::must_use_candidate,
        reason = "called for its effect; the reason is optional"
    )]
    pub fn cancel_dropped(&self) -> CancelReason {
        let attempt = self.context.attempt_state();
        attempt.cancelled_outside(self.depth).unwrap_or_else(|| {
            self.cancel(CancelReason::CallerGone);
            CancelReason::CallerGone
        })
    }

    // --- values

    /// Provides a value to everything inside, which reads it with [`CallContext::extension`]. A
    /// value of that type that the caller attached takes precedence. Children of the call inherit
    /// it.
    pub fn provide<T: Send + Sync + 'static>(&self, value: &Arc<T>) {
        self.context.attempt_state().provide(value);
    }

    // --- hooks

    /// Sets what runs the hooks of this call if a [task](crate::TaskScope) outlives it.
    pub fn run_hooks_with<R: RunHooks>(&self, runner: &Arc<R>) {
        self.context.attempt_state().run_hooks_with(runner);
    }

    /// Takes the hooks registered so far and the tasks that were started, which are aborted. The
    /// caller runs the hooks. Call it at the [end](Self::end).
    #[must_use]
    #[inline]
    pub fn take_hooks(&self) -> Option<Hooks> {
        self.context.attempt_state().take_hooks()
    }

    /// Returns what hooks are passed when the call ends with this outcome.
    #[must_use]
    pub fn cleanup_end(&self, outcome: Outcome) -> CleanupEnd {
        self.context.attempt_state().cleanup_end(outcome)
    }

    // --- partial results

    /// Keeps what is published from here on. The outermost layer that calls this decides how much,
    /// and keeps what is streamed.
    #[inline]
    pub fn keep(&self, policy: KeepPolicy) {
        self.context.attempt_state().keep(policy, self.depth);
    }

    /// Keeps an item of a streaming response that goes to the consumer. A frame is only counted.
    /// Does nothing unless this is the outermost layer that keeps.
    pub fn keep_streamed(&self, item: Item<'_>) {
        let attempt = self.context.attempt_state();
        if !attempt.is_keeper(self.depth) {
            return;
        }
        attempt.record_at(self.depth, |partials, attempt, policy| {
            let displaced = match item {
                Item::Content(content) => {
                    partials.append(attempt, policy, Emitted::Own(content.clone()))
                }
                Item::Frame(_) => Displaced::default(),
                #[cfg(feature = "http")]
                Item::Trailers(_) => Displaced::default(),
            };
            partials.count_delivered(attempt);
            displaced
        });
    }

    /// Keeps a buffered response that came within the grace of a timeout, in place of what the
    /// tool had published. The error takes it along, whether or not a layer keeps.
    pub fn keep_late(&self, contents: Vec<Content>) {
        let attempt = self.context.attempt_state();
        attempt.keep_late(self.depth, contents);
    }
}

// === impl Reading ===

impl<'a> Reading<'a> {
    #[inline]
    fn carry(context: &'a CallContext, now: Moment) -> Self {
        context.attempt_state().carry_reading(Some(now));
        Self(Some(context))
    }
}

impl Drop for Reading<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(context) = self.0 {
            context.attempt_state().carry_reading(None);
        }
    }
}
