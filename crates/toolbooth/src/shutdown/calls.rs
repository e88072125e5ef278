//! Counts the calls in flight, rejects calls once closed, and notifies those to cancel.
//!
//! Invariants:
//! 1. The count and the flags are one word. So a call is counted when the layer is closed, or it
//!    sees that the layer is closed.
//! 2. A waiter creates its `Notified` before it reads the word, and the word changes before
//!    `notify_waiters`. So the waiter sees the change, or it is notified.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker, ready};

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// The calls of a shutdown layer.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// The flags, and [`CALL`] for each call in flight.
    state: AtomicUsize,
    /// How many calls were in flight when the layer was closed.
    at_close: OnceLock<usize>,
    /// How many calls ended because they were cancelled.
    cancelled: AtomicU64,
    /// Notifies the calls of the cancellation.
    cancel: Arc<Notify>,
    /// Notified when the last call ends after the close.
    ended: Notify,
}

/// Waits for the cancellation on behalf of a pending call.
#[derive(Debug)]
pub(super) struct Wait {
    notified: Pin<Box<OwnedNotified>>,
    /// The waker that is registered, so that a further poll by the same task takes no lock.
    waker: Waker,
}

const CLOSED: usize = 1;
const CANCELLED: usize = 2;
const CALL: usize = 4;

// === impl Calls ===

impl Calls {
    /// Counts a call; returns false if the layer is closed.
    #[inline]
    pub(super) fn enter(&self) -> bool {
        let before = self.state.fetch_add(CALL, Ordering::AcqRel);
        let admitted = before & CLOSED == 0;
        if !admitted {
            self.leave();
        }
        admitted
    }

    /// Ends a call that [entered](Self::enter).
    #[inline]
    pub(super) fn leave(&self) {
        let before = self.state.fetch_sub(CALL, Ordering::AcqRel);
        if before & CLOSED != 0 && in_flight(before) == 1 {
            self.ended.notify_waiters();
        }
    }

    pub(super) fn count_cancelled(&self) {
        self.cancelled.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn in_flight(&self) -> usize {
        in_flight(self.state.load(Ordering::Acquire))
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.load(Ordering::Acquire) & CLOSED != 0
    }

    #[inline]
    pub(super) fn are_cancelled(&self) -> bool {
        self.state.load(Ordering::Acquire) & CANCELLED != 0
    }

    /// Rejects calls from now on.
    pub(super) fn close(&self) {
        self.at_close
            .get_or_init(|| in_flight(self.state.fetch_or(CLOSED, Ordering::AcqRel)));
    }

    /// Cancels the calls in flight, which are woken.
    pub(super) fn cancel(&self) {
        self.state.fetch_or(CANCELLED, Ordering::AcqRel);
        self.cancel.notify_waiters();
    }

    /// Waits until no call is in flight, once the layer is closed.
    pub(super) async fn ended(&self) {
        loop {
            let ended = self.ended.notified();
            if self.in_flight() == 0 {
                return;
            }
            ended.await;
        }
    }

    /// Waits for the cancellation.
    pub(super) fn cancelled(&self) -> impl Future<Output = ()> + Send + 'static {
        let cancelled = Arc::clone(&self.cancel).notified_owned();
        let are_cancelled = self.are_cancelled();
        async move {
            if !are_cancelled {
                cancelled.await;
            }
        }
    }

    /// Polls for the cancellation. The wait is registered by the first poll.
    pub(super) fn poll_cancelled(&self, wait: &mut Option<Wait>, cx: &mut Context<'_>) -> Poll<()> {
        let registered = wait
            .as_ref()
            .is_some_and(|wait| wait.waker.will_wake(cx.waker()));
        if !registered {
            ready!(self.register(wait, cx));
        }
        match self.are_cancelled() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    #[cold]
    fn register(&self, wait: &mut Option<Wait>, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let wait = match wait {
            Some(wait) => {
                wait.waker = waker;
                wait
            }
            None => wait.insert(Wait {
                notified: Box::pin(Arc::clone(&self.cancel).notified_owned()),
                waker,
            }),
        };
        wait.notified.as_mut().poll(cx)
    }

    /// Returns how many calls were in flight when the layer was closed and have ended by
    /// themselves, and how many were cancelled, given how many have not ended.
    pub(super) fn counts(&self, in_flight: usize) -> (u64, u64) {
        let cancelled = self.cancelled.load(Ordering::Acquire);
        let at_close = self.at_close.get().copied().unwrap_or(0);
        let ended = u64::try_from(at_close.saturating_sub(in_flight)).unwrap_or(u64::MAX);
        (ended.saturating_sub(cancelled), cancelled)
    }
}

const fn in_flight(state: usize) -> usize {
    state / CALL
}
