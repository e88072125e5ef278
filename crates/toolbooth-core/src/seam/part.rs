use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::{End, Item};
use crate::call::{
    Bound, CallContext, CleanupEnd, Hooks, Moment, More, Pulse, Reading, RunHooks, address,
};
use crate::outcome::{CancelReason, Outcome};
use crate::response::{Content, Displaced, KeepPolicy};

/// One layer's part of a call: from its `call` to the end of the answer.
///
/// A layer [enters](CallContext::enter) the context first thing in `call`, keeps the part in its
/// [`Watch`](crate::Watch), and [ends](Self::end) it there.
#[derive(Debug)]
#[must_use = "a part is to be ended"]
pub struct Part {
    context: CallContext,
    place: Place,
}

/// For layers that run what is inside on a task of its own.
#[derive(Debug)]
pub struct TaskScope {
    context: CallContext,
    depth: u32,
}

/// How deep a part is, and as the lowest bit whether it started the call, and its clock: one whole word, since what is moved with
/// its call in uneven pieces costs a multiple.
#[derive(Debug, Clone, Copy)]
struct Place(u64);

// === impl Part ===

impl Part {
    /// Enters one more layer. The outermost layer starts the call and its clock.
    #[inline(always)]
    pub fn enter(context: &CallContext) -> Self {
        let (depth, starts) = context.attempt_state().enter();
        Self {
            context: context.clone(),
            place: Place::new(depth, starts),
        }
    }

    /// Returns the limit at which the call expires at the latest.
    #[must_use]
    pub fn bound(&self) -> Option<Bound> {
        self.context.bound()
    }

    /// Returns the caller's own deadline as a limit, if it has passed.
    #[inline]
    #[must_use]
    pub fn passed_deadline(&self) -> Option<Bound> {
        let attempt = self.context.attempt_state();
        let deadline = attempt.deadline()?;
        (deadline <= self.now()).then(|| attempt.bound_of_caller(deadline))
    }

    /// Returns whether a timeout layer stands around, which enforces [`bound`](Self::bound).
    #[must_use]
    pub fn is_timed(&self) -> bool {
        self.context.attempt_state().is_timed()
    }

    /// Registers a timeout layer; returns true for the outermost one.
    #[must_use]
    pub fn enter_timeout(&self) -> bool {
        self.context.attempt_state().enter_timeout()
    }

    /// Sets the limit at which everything inside expires at the latest.
    pub fn set_bound(&self, bound: Bound) {
        self.context.attempt_state().narrow(bound);
    }

    /// Returns the total limit that the caller set for this call.
    #[must_use]
    #[inline]
    pub fn timeout(&self) -> Option<Duration> {
        self.settings()?.timeout
    }

    /// Returns the idle limit that the caller set for this call.
    #[must_use]
    #[inline]
    pub fn idle_timeout(&self) -> Option<Duration> {
        self.settings()?.idle_timeout
    }

    /// Returns the limit until the first item that the caller set for this call.
    #[must_use]
    #[inline]
    pub fn first_item_timeout(&self) -> Option<Duration> {
        self.settings()?.first_item_timeout
    }

    fn settings(&self) -> Option<&More> {
        self.context.attempt_state().settings.more()
    }

    /// Returns the signs of life of everything inside, from `start` on.
    #[must_use]
    pub fn pulse(&self, start: Moment) -> Arc<Pulse> {
        let pulse = Arc::new(Pulse::new(start));
        self.context.attempt_state().listen(Arc::clone(&pulse));
        pulse
    }

    /// Returns whether a call above this one holds a permit of the same limit.
    #[must_use]
    #[inline]
    pub fn inherits<L>(&self, limit: &Arc<L>) -> bool {
        self.context.inherits(limit)
    }

    /// Names who runs the hooks of this call if a [task](TaskScope) outlives it.
    pub fn run_hooks_with<R: RunHooks>(&self, runner: &Arc<R>) {
        self.context.attempt_state().run_hooks_with(runner);
    }

    /// Takes the hooks registered so far and the tasks that were started, which are aborted.
    /// At the [end](Self::end); the caller runs the hooks.
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

    /// The context of the call.
    #[must_use]
    pub const fn context(&self) -> &CallContext {
        &self.context
    }

    /// The reading of the clock for this synchronous stretch of the call.
    #[must_use]
    pub fn now(&self) -> Moment {
        match self.context.started() {
            Some(started) if self.place.starts() => started,
            _ => self.context.now(),
        }
    }

    /// For the synchronous stretch of a `call`: where this part started the call, what is called
    /// meanwhile uses its reading of the clock.
    pub fn carry(&self) -> Reading<'_> {
        match self.context.started() {
            Some(started) if self.place.starts() => Reading::carry(&self.context, started),
            _ => Reading::none(),
        }
    }

    /// After a wait: reads the clock anew, for all that is called meanwhile.
    pub fn carry_now(&self) -> Reading<'_> {
        Reading::carry(&self.context, Moment::now())
    }

    /// For layers that keep partial results: from here on what is published is kept. The outermost such layer decides how much,
    /// and keeps what is streamed.
    pub fn keep(&self, policy: KeepPolicy) {
        self.context.attempt_state().keep(policy, self.depth());
    }

    /// For layers that keep partial results: pieces of a streamed answer went on to the consumer.
    /// What is a tool's content is kept; a frame is only counted. Nothing by any but the outermost of these layers.
    pub fn keep_streamed(&self, piece: Item<'_>) {
        if !self.context.attempt_state().is_keeper(self.depth()) {
            return;
        }
        self.context
            .attempt_state()
            .record_at(self.depth(), |partials, attempt, policy| {
                let displaced = match piece {
                    Item::Content(content) => partials.append(attempt, policy, content.clone()),
                    Item::Frame(_) => Displaced::default(),
                };
                partials.count_delivered(attempt);
                displaced
            });
    }

    /// Why the call is not to be started: it was cut short from outside before.
    #[must_use]
    #[inline]
    pub fn cancelled_before_start(&self) -> Option<CancelReason> {
        match self.depth() {
            1 => self.context.attempt_state().cut_before(),
            _ => None,
        }
    }

    /// After what is inside was pending: why the owner of the call cut it short, if this part is the outermost; else its
    /// task is woken when that happens.
    #[inline]
    pub fn poll_cancelled(&self, cx: &mut Context<'_>) -> Poll<CancelReason> {
        match self.depth() {
            1 => self.context.attempt_state().poll_owner(cx),
            _ => Poll::Pending,
        }
    }

    /// For limits: this layer holds a permit of `line` for the call, and so for [the calls that the tool makes](CallContext::inherits).
    #[inline]
    pub fn hold<L>(&self, line: &Arc<L>) {
        self.context
            .attempt_state()
            .hold(address(line), self.depth());
    }

    /// For limits: it gives the permit back. At the [end](Self::end), before it does so.
    #[inline]
    pub fn release<L>(&self, line: &Arc<L>) {
        self.context
            .attempt_state()
            .release(address(line), self.depth());
    }

    /// The call is held back here, before anything further in starts: it waits for admission, or is refused.
    pub fn hold_back(&self) {
        self.context.attempt_state().set_held(true);
    }

    /// The call is no longer held back here.
    pub fn let_through(&self) {
        self.context.attempt_state().set_held(false);
    }

    /// Whether a layer further in [held](Self::hold_back) every attempt of the call back, so that its tool has done nothing.
    #[must_use]
    pub fn is_held_back(&self) -> bool {
        self.context.attempt_state().is_held()
    }

    /// For timeout layers: what the tool answered, whole, within the grace that it had. An error of this call takes it
    /// along, in place of what the tool had published, whether or not a layer keeps that.
    pub fn keep_late(&self, contents: Vec<Content>) {
        self.context
            .attempt_state()
            .keep_late(self.depth(), contents);
    }

    /// For layers whose permit stands for work that runs: keeps `permit` until the [blocking work](CallContext::spawn_blocking) that
    /// the call started and that outlives it has ended; drops it at once where there is none. At the [end](Self::end).
    #[inline]
    pub fn keep_for_blocking<T: Send + Sync + 'static>(&self, permit: T) {
        self.context.attempt_state().keep_for_blocking(permit);
    }

    /// For layers that wait for such work, or count it: each piece of it keeps one of what `each` gives until it has ended, and
    /// the permits are back.
    #[inline]
    pub fn count_blocking<T: Send + 'static>(&self, each: impl FnMut() -> T) {
        self.context.attempt_state().count_blocking(each);
    }

    fn depth(&self) -> u32 {
        self.place.depth()
    }

    /// Tells everything further in that it is cut short.
    pub fn cancel(&self, reason: CancelReason) {
        self.context.attempt_state().cancel(self.depth(), reason);
    }

    /// Tells everything further in that this part was dropped, unless something
    /// further out cut it already; why it was, either way. Called before what is further in is dropped.
    #[expect(
        clippy::must_use_candidate,
        reason = "called for its effect; the reason is there for who wants it"
    )]
    pub fn cancel_dropped(&self) -> CancelReason {
        self.context.attempt_state().hear_owner();
        let outside = self.context.attempt_state().cancelled_outside(self.depth());
        outside.unwrap_or_else(|| {
            self.cancel(CancelReason::CallerGone);
            CancelReason::CallerGone
        })
    }

    /// Ends the part, in this order: whatever is further in is over; an error gets its origin and
    /// what was kept; `settle` gives back what the layer took; the outermost layer runs the hooks that are left.
    #[inline(always)]
    pub fn end(self, mut end: End<'_>, settle: impl FnOnce(&Self, &End<'_>)) {
        self.close(&mut end);
        settle(&self, &end);
        if self.depth() == 1 {
            self.context.attempt_state().leave_hooks(end.outcome());
            self.context.retire();
        }
    }

    #[inline(always)]
    fn close(&self, end: &mut End<'_>) {
        let attempt = self.context.attempt_state();
        match end {
            End::Complete if self.depth() > 1 => {
                attempt.close_inside(self.depth(), Outcome::Completed);
            }
            End::Complete => attempt.close(Outcome::Completed, self.context.is_alone()),
            end => self.close_whole(end),
        }
    }

    fn close_whole(&self, end: &mut End<'_>) {
        match end {
            End::Dropped(reason) => *reason = self.cancel_dropped(),
            End::Failed(error) => error.adopt(&self.context),
            End::Complete | End::Panicked => {}
        }
        let outcome = end.outcome();
        let attempt = self.context.attempt_state();
        match self.depth() {
            1 => attempt.close(outcome, self.context.is_alone()),
            depth => attempt.close_inside(depth, outcome),
        }
        if let End::Failed(error) = end {
            if let Some(kept) = self.context.kept() {
                error.set_partial(Some(kept));
            }
        }
    }
}

// === impl TaskScope ===

impl TaskScope {
    /// Enters a task inside of the layers that the call has entered. Call it before it starts.
    #[must_use]
    pub fn enter(context: &CallContext) -> Self {
        Self {
            depth: context.attempt_state().enter_task(),
            context: context.clone(),
        }
    }

    /// The call was cancelled and its task runs on until `stopped`: cleanup waits for that before
    /// the first hook runs. A cleanup layer inside of the task starts cleanup now.
    pub fn outlived_by(&self, stopped: impl Future<Output = ()> + Send + 'static) {
        self.context.cleanup_waits_for(stopped);
        let reason = self.context.cancel_reason();
        let outcome = reason.unwrap_or(CancelReason::CallerGone).outcome();
        self.context
            .attempt_state()
            .run_hooks_inside(self.depth, outcome);
    }
}

// === impl Place ===

impl Place {
    fn new(depth: u32, starts: bool) -> Self {
        Self(u64::from(depth) << 1 | u64::from(starts))
    }

    #[expect(clippy::cast_possible_truncation, reason = "a depth was packed")]
    const fn depth(self) -> u32 {
        (self.0 >> 1) as u32
    }

    const fn starts(self) -> bool {
        self.0 & 1 == 1
    }
}
