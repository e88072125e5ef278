//! An attempt that can be cancelled from outside of all layers.
//!
//! It is cut at depth 0, so that every layer is inside of it. Only an attempt that is no fork has an owner of its own: what stands
//! inside of another attempt's layers is dropped by that one's outermost layer.

use std::sync::atomic::Ordering;
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
        // A call that has not been made joins when it is: until then nobody else holds it.
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

    /// An attempt that has not joined looks for itself.
    pub(super) fn cancelled_before(&self) -> Option<CancelReason> {
        match self.depth.load(Ordering::Acquire) {
            0 => self.call().signal()?.reason(),
            _ => None,
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

    pub(crate) fn poll_owner(&self, cx: &mut Context<'_>) -> Poll<CancelReason> {
        let Some(owner) = self.owner() else {
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
    pub(crate) fn cut_with_owner<C: Cut + 'static>(&self, answer: &Arc<C>) {
        let Some(owner) = self.owner() else { return };
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

    /// Whether anybody can cancel it.
    pub(crate) fn is_owned(&self) -> bool {
        self.owner().is_some()
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
