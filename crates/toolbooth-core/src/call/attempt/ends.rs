//! How an attempt is cut and how it ends, and who waits for that.

use std::future::poll_fn;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Weak};
use std::task::Poll;

use super::Attempt;
use crate::call::canceller::Signal;
use crate::outcome::{CancelReason, Outcome};
use crate::sync::lock;

impl Attempt {
    pub(crate) fn cancel(&self, depth: u32, reason: CancelReason) {
        self.cancelled
            .fetch_min(pack(depth, reason_code(reason)), Ordering::AcqRel);
        self.tell();
    }

    /// Ends a part that is not the outermost.
    #[inline]
    pub(crate) fn close_inside(&self, depth: u32, outcome: Outcome) {
        let before = self.closed.load(Ordering::Relaxed);
        let packed = pack(depth, outcome_code(outcome)) | (before & ON_TASK);
        if before & ON_TASK != 0 {
            self.closed.fetch_min(packed, Ordering::AcqRel);
        } else if packed < before {
            self.closed.store(packed, Ordering::Release);
        }
        if self.has_rare() {
            self.tell_inside(depth);
        }
    }

    #[cold]
    fn tell_inside(&self, depth: u32) {
        self.stop_tasks(depth);
        self.tell();
    }

    /// Ends the outermost part; `alone` where nobody else holds the attempt, so that there is nobody to race with or to tell.
    #[inline]
    pub(crate) fn close(self: &Arc<Self>, outcome: Outcome, alone: bool) {
        if alone {
            self.ended
                .store(ENDED | u32::from(outcome_code(outcome)), Ordering::Release);
            return self.end_partials();
        }
        // What the owner has said by now stays said.
        self.hear_owner();
        let before = self
            .ended
            .swap(ENDED | u32::from(outcome_code(outcome)), Ordering::AcqRel);
        self.end_partials();
        if before & RARE != 0 {
            self.tell();
            self.disown();
        }
    }

    /// What is further in runs on a task: parts inside and outside of it may end at the same time. Gives the depth.
    pub(crate) fn enter_task(&self) -> u32 {
        self.closed.fetch_or(ON_TASK, Ordering::AcqRel);
        self.depth.load(Ordering::Acquire)
    }

    pub(super) fn is_on_task(&self) -> bool {
        self.closed.load(Ordering::Acquire) & ON_TASK != 0
    }

    /// The reason of a cut from outside of `depth`.
    pub(crate) fn cancelled_outside(&self, depth: u32) -> Option<CancelReason> {
        let own = cut_outside(self.cancelled.load(Ordering::Acquire), depth);
        if own.is_some() {
            return own;
        }
        match self.parent() {
            Some(link) => link.attempt.cancelled_outside(link.depth + 1),
            None => self.cancelled_untold(),
        }
    }

    /// How the attempt ended, if it has, outside of `depth`.
    pub(in crate::call) fn closed_outside(&self, depth: u32) -> Option<Outcome> {
        let ended = self.ended.load(Ordering::Acquire);
        if ended & ENDED != 0 && depth > 1 {
            return Some(outcome_of(ended));
        }
        let own = self.closed.load(Ordering::Acquire);
        if unpack_depth(own) < depth {
            return Some(outcome_of(own));
        }
        let link = self.parent()?;
        link.attempt.closed_outside(link.depth + 1)
    }

    /// Whether the outermost part has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire) & ENDED != 0
    }

    pub(in crate::call) fn is_closed(&self) -> bool {
        self.closed_outside(u32::MAX).is_some()
    }

    fn tell(&self) {
        fence(Ordering::SeqCst);
        if let Some(rare) = self.rare.get() {
            let forks: Vec<Arc<Self>> =
                lock(&rare.forks).iter().filter_map(Weak::upgrade).collect();
            rare.gone.notify_waiters();
            forks.iter().for_each(|fork| fork.tell());
            self.tell_children();
        }
    }

    /// Waits until the attempt is cut or over.
    pub(in crate::call) async fn gone(self: &Arc<Self>) {
        self.be_told();
        loop {
            let told = self.rare().gone.notified();
            let mut told = std::pin::pin!(told);
            told.as_mut().enable();
            poll_fn(|cx| {
                // Where nobody could cancel it when the wait began, it looks again at each poll, as its layers do.
                self.hear_owner();
                match self.is_gone() {
                    true => Poll::Ready(()),
                    false => told.as_mut().poll(cx),
                }
            })
            .await;
            if self.is_gone() {
                return;
            }
        }
    }

    /// Has the owner, and the attempts that this one was forked from, pass on when it is cut or they are over.
    fn be_told(self: &Arc<Self>) {
        // First: whoever takes a canceller from here on sees it, and has this attempt join.
        self.rare();
        self.join();
        let mut watched = self;
        while let Some(link) = watched.parent() {
            link.attempt.watch(watched);
            watched = link.attempt;
        }
    }

    /// Has a call that this attempt makes cancelled when the attempt is cut or over; at once if it is.
    pub(in crate::call) fn tell_at_end(self: &Arc<Self>, child: &Arc<Signal>) {
        self.be_told();
        let mut children = lock(&self.rare().children);
        children.retain(|other| other.strong_count() > 0);
        children.push(Arc::downgrade(child));
        drop(children);
        self.tell_children();
    }

    /// Cancels the calls that this attempt made, if it is cut or over.
    fn tell_children(&self) {
        if self.is_gone() {
            self.cancel_children();
        }
    }

    pub(super) fn cancel_children(&self) {
        let Some(rare) = self.rare.get() else { return };
        let children = std::mem::take(&mut *lock(&rare.children));
        for child in children.iter().filter_map(Weak::upgrade) {
            child.cancel(CancelReason::Parent);
        }
    }

    fn watch(&self, fork: &Arc<Self>) {
        let fork = Arc::downgrade(fork);
        let mut forks = lock(&self.rare().forks);
        forks.retain(|other| other.strong_count() > 0 && !other.ptr_eq(&fork));
        forks.push(fork);
    }
}

// === packing ===

/// In `ended`: it has.
const ENDED: u32 = 1 << 8;
/// In `ended`: whoever ends the attempt has somebody to tell.
pub(super) const RARE: u32 = 1 << 9;
pub(super) const OPEN: u32 = u32::MAX >> 1;
/// In `closed`: it has more than one writer at a time.
const ON_TASK: u32 = 1 << 31;

/// The depth above, so that the least value is the outermost; no stack is 8 million layers deep.
fn pack(depth: u32, code: u8) -> u32 {
    depth << 8 | u32::from(code)
}

const fn unpack_depth(packed: u32) -> u32 {
    match packed & !ON_TASK {
        OPEN => u32::MAX,
        packed => packed >> 8,
    }
}

/// The reason of a cut from outside of `depth`, where that is what is packed.
pub(super) const fn cut_outside(packed: u32, depth: u32) -> Option<CancelReason> {
    match unpack_depth(packed) < depth {
        true => Some(reason_of(packed)),
        false => None,
    }
}

const fn reason_code(reason: CancelReason) -> u8 {
    match reason {
        CancelReason::Timeout => 0,
        CancelReason::CallerGone => 1,
        CancelReason::Parent => 2,
        CancelReason::Shutdown => 3,
        CancelReason::Explicit => 4,
    }
}

const fn reason_of(packed: u32) -> CancelReason {
    match packed & 0xff {
        0 => CancelReason::Timeout,
        1 => CancelReason::CallerGone,
        2 => CancelReason::Parent,
        3 => CancelReason::Shutdown,
        _ => CancelReason::Explicit,
    }
}

const fn outcome_code(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Completed => 0,
        Outcome::Failed => 1,
        Outcome::TimedOut => 2,
        Outcome::Cancelled => 3,
        Outcome::Rejected => 4,
        Outcome::Panicked => 5,
    }
}

const fn outcome_of(packed: u32) -> Outcome {
    match packed & 0xff {
        0 => Outcome::Completed,
        1 => Outcome::Failed,
        2 => Outcome::TimedOut,
        3 => Outcome::Cancelled,
        4 => Outcome::Rejected,
        _ => Outcome::Panicked,
    }
}
