//! An attempt that can be cancelled from outside of all layers.
//!
//! It is cut at depth 0, so that every layer is inside of it. Only an attempt that is no fork has an owner of its own: what stands
//! inside of another attempt's layers is dropped by that one's outermost layer.
//!
//! Whoever takes a canceller looks whether the attempt has entered a layer, and whoever enters one looks for a canceller. Where that
//! happens in the same moment each may miss the other, since a plain call is not to pay for a fence: so the attempt looks again whenever
//! it is pending, as it must for a canceller that is taken while it waits, from this attempt or from another one of its call.

use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Waker};

use super::{Attempt, ends};
use crate::call::canceller::Signal;
use crate::outcome::CancelReason;
use crate::sync::lock;

/// Whom to tell, besides the tool.
#[derive(Default)]
pub(super) struct Owner {
    /// The task of the outermost layer's future.
    waker: Mutex<Option<Waker>>,
    /// The streamed answer, from the innermost layer's view of it to the outermost's.
    answers: Mutex<Vec<Weak<dyn Cut>>>,
}

/// What can be cut at any moment, from any thread.
pub(crate) trait Cut: Send + Sync {
    fn cut(&self);
}

// === impl Attempt ===

impl Attempt {
    /// What cancels the call of this attempt.
    pub(in crate::call) fn signal(self: &Arc<Self>) -> Arc<Signal> {
        let signal = Arc::clone(self.call().shared().signal.get_or_init(Arc::default));
        // With the one in `rare`: either this sees that somebody is to be told, or that one sees the signal.
        fence(Ordering::SeqCst);
        // A call that has not been made joins when it is: until then nothing of it is to be cut.
        if self.depth.load(Ordering::Acquire) > 0 || self.rare.get().is_some() {
            self.join();
        }
        // What stands inside of another attempt's layers is cut with that one, which may have been called before anybody asked.
        if let Some(link) = self.parent() {
            link.attempt.signal();
        }
        signal
    }

    /// From here on the attempt is told when the call is cancelled, if anybody can cancel it.
    #[inline]
    pub(super) fn join(self: &Arc<Self>) {
        if let Some(signal) = self.call().signal() {
            self.join_with(signal);
        }
    }

    fn join_with(self: &Arc<Self>, signal: &Signal) {
        if self.parent().is_none() {
            self.rare().owner.get_or_init(Owner::default);
            signal.join(self);
        }
    }

    /// What the owner said, where the attempt has not joined yet; one that had not heard of it at its end never does.
    pub(super) fn cancelled_untold(&self) -> Option<CancelReason> {
        match self.has_ended() {
            false => self.call().signal()?.reason(),
            true => None,
        }
    }

    pub(in crate::call) fn cancel_by_owner(&self, reason: CancelReason) {
        if self.has_ended() {
            return;
        }
        self.cancel(0, reason);
        let Some(owner) = self.owner() else { return };
        let answers = lock(&owner.answers).clone();
        // What is further in is dropped with what is further out.
        let answers = answers.iter().rev().filter_map(Weak::upgrade);
        answers.for_each(|answer| answer.cut());
        let waker = lock(&owner.waker).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Why it is cut although it enters its first layer only now.
    #[inline]
    pub(crate) fn cut_before(&self) -> Option<CancelReason> {
        match (self.rare.get(), self.parent()) {
            (None, None) => None,
            _ => self.cancelled_outside(1),
        }
    }

    /// Whether the owner cancelled it.
    pub(crate) fn cut_by_owner(&self) -> Option<CancelReason> {
        ends::cut_outside(self.cancelled.load(Ordering::Acquire), 1)
    }

    pub(crate) fn poll_owner(self: &Arc<Self>, cx: &mut Context<'_>) -> Poll<CancelReason> {
        let Some(owner) = self.owner_by_now() else {
            return Poll::Pending;
        };
        let mut waker = lock(&owner.waker);
        let before = match &mut *waker {
            Some(before) if before.will_wake(cx.waker()) => None,
            waker => waker.replace(cx.waker().clone()),
        };
        drop(waker);
        drop(before);
        // Looked at after the waker is there: a cancellation that this does not see finds the waker.
        match self.cut_by_owner() {
            Some(reason) => Poll::Ready(reason),
            None => Poll::Pending,
        }
    }

    /// Has an answer cut when the owner cancels, and at once if that has happened; nothing where nobody can.
    pub(crate) fn cut_with_owner<C: Cut + 'static>(self: &Arc<Self>, answer: &Arc<C>) {
        let Some(owner) = self.owner_by_now() else {
            return;
        };
        let weak = Arc::downgrade(answer);
        lock(&owner.answers).push(weak);
        if self.cut_by_owner().is_some() {
            answer.cut();
        }
    }

    /// It is over: nobody is to be told any more.
    pub(super) fn disown(&self) {
        if let Some(owner) = self.owner() {
            let waker = lock(&owner.waker).take();
            lock(&owner.answers).clear();
            drop(waker);
        }
    }

    /// Whether anybody can cancel it, by now.
    pub(crate) fn is_owned_by_now(self: &Arc<Self>) -> bool {
        self.owner_by_now().is_some()
    }

    fn owner_by_now(self: &Arc<Self>) -> Option<&Owner> {
        self.hear_owner();
        self.owner()
    }

    /// Joins, where nobody could cancel the call when it began: what the owner has said by now it says, too, from here on.
    pub(crate) fn hear_owner(self: &Arc<Self>) {
        if self.owner().is_none() {
            self.join();
        }
    }

    fn owner(&self) -> Option<&Owner> {
        self.rare.get()?.owner.get()
    }
}

// === impl Owner ===

impl std::fmt::Debug for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Owner").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::task::{Wake, Waker};

    use super::*;
    use crate::call::{CallContext, Canceller, ToolCall};
    use crate::error::ToolError;
    use crate::seam::{End, Part};

    fn poll_cancelled(part: &Part) -> Poll<CancelReason> {
        part.poll_cancelled(&mut Context::from_waker(Waker::noop()))
    }

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Release);
        }
    }

    fn end(part: Part) {
        part.end(End::Complete, |_, _| ());
    }

    /// Taken by a thread that did not see the call entered yet, and which the call did not see.
    fn taken_unseen(context: &CallContext) -> Canceller {
        let shared = context.attempt_state().call().shared();
        Canceller::new(Arc::clone(shared.signal.get_or_init(Arc::default)))
    }

    #[test]
    fn one_taken_in_the_moment_of_entering_is_found_at_the_next_poll() {
        let call = ToolCall::new("tool", ());
        let context = call.context();
        let part = Part::enter(&context);
        let canceller = taken_unseen(context);
        assert_eq!(poll_cancelled(&part), Poll::Pending);
        canceller.cancel();
        assert_eq!(poll_cancelled(&part), Poll::Ready(CancelReason::Explicit));
        end(part);

        let call = ToolCall::new("tool", ());
        let context = call.context();
        let part = Part::enter(&context);
        taken_unseen(context).cancel();
        assert_eq!(context.cancel_reason(), Some(CancelReason::Explicit));
        assert_eq!(poll_cancelled(&part), Poll::Ready(CancelReason::Explicit));
        end(part);
    }

    /// Polled once after that it is woken.
    #[test]
    fn one_taken_in_the_moment_of_entering_wakes_who_was_polled_since() {
        let call = ToolCall::new("tool", ());
        let part = Part::enter(call.context());
        let canceller = taken_unseen(call.context());
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let polled = part.poll_cancelled(&mut Context::from_waker(&waker));
        assert_eq!(polled, Poll::Pending);
        canceller.cancel();
        assert!(woken.0.load(Ordering::Acquire));
        end(part);
    }

    #[test]
    fn one_taken_from_another_attempt_while_this_one_waits_is_found_at_the_next_poll() {
        let first = ToolCall::new("tool", ());
        let second = first.clone();
        let part = Part::enter(second.context());
        assert_eq!(poll_cancelled(&part), Poll::Pending);
        first.canceller().cancel();
        assert_eq!(poll_cancelled(&part), Poll::Ready(CancelReason::Explicit));
        end(part);
    }

    #[test]
    fn it_does_nothing_to_a_call_that_ended_before_it_was_taken() {
        let first = ToolCall::new("tool", ());
        let second = first.clone();
        end(Part::enter(second.context()));
        first.canceller().cancel();
        assert_eq!(second.context().cancel_reason(), None);
    }

    #[test]
    fn a_later_attempt_without_any_layer_finds_out_when_it_is_polled_and_is_woken_from_then_on() {
        for polls_between in [false, true] {
            let first = ToolCall::new("tool", ());
            let second = first.clone();
            let context = second.context().clone();
            let mut gone = pin!(context.cancelled());
            let woken = Arc::new(Woken::default());
            let waker = Waker::from(Arc::clone(&woken));
            let mut cx = Context::from_waker(&waker);
            assert!(gone.as_mut().poll(&mut cx).is_pending());
            let canceller = first.canceller();
            if polls_between {
                assert!(gone.as_mut().poll(&mut cx).is_pending());
            }
            canceller.cancel();
            assert_eq!(woken.0.load(Ordering::Acquire), polls_between);
            assert!(gone.as_mut().poll(&mut cx).is_ready());
        }
    }

    #[test]
    fn a_reason_that_was_seen_is_there_after_the_end() {
        let ends: [fn(&mut ToolError) -> End<'_>; 3] = [
            |_| End::Dropped(CancelReason::CallerGone),
            |error| End::Failed(error),
            |_| End::Complete,
        ];
        for end in ends {
            let first = ToolCall::new("tool", ());
            let second = first.clone();
            let context = second.context().clone();
            let part = Part::enter(&context);
            first.canceller().cancel();
            assert_eq!(context.cancel_reason(), Some(CancelReason::Explicit));
            part.end(end(&mut ToolError::failed("stopped")), |_, _| ());
            assert_eq!(context.cancel_reason(), Some(CancelReason::Explicit));
        }
    }

    #[test]
    fn who_is_dropped_before_it_finds_out_tells_what_is_inside_first() {
        let first = ToolCall::new("tool", ());
        let second = first.clone();
        let context = second.context().clone();
        let part = Part::enter(&context);
        let mut gone = pin!(context.cancelled());
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        assert!(gone.as_mut().poll(&mut cx).is_pending());
        first.canceller().cancel();
        assert!(!woken.0.load(Ordering::Acquire));
        assert_eq!(part.cancel_dropped(), CancelReason::Explicit);
        assert!(woken.0.load(Ordering::Acquire));
        end(part);
    }

    #[test]
    fn a_call_that_a_tool_without_any_layer_makes_is_cancelled_with_it() {
        let call = ToolCall::new("tool", ());
        let canceller = call.canceller();
        let child = call.context().child("other", ()).expect("not too deep");
        canceller.cancel();
        let reason = child.context().cancel_reason();
        assert_eq!(reason, Some(CancelReason::Parent));
    }
}
