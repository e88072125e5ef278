//! The queue between an attempt and a reader.
//!
//! The reader owns it: without a reader nothing is queued. Updates, wakers and what they own are
//! dropped after the lock, since that may run any code.

use std::fmt;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Waker};

use super::Update;
use super::queue::Queue;
use crate::sync::lock;

/// Sends updates to a reader. The stream ends when it is dropped.
pub(in crate::call) struct Sender(Weak<Channel>);

pub(super) struct Channel(Mutex<State>);

struct State {
    queue: Queue,
    /// Whether the sender was dropped.
    is_closed: bool,
    /// Wakes the reader, if it waits.
    reader: Option<Waker>,
}

pub(super) fn channel(capacity: usize) -> (Sender, Arc<Channel>) {
    let channel = Arc::new(Channel(Mutex::new(State {
        queue: Queue::new(capacity),
        is_closed: false,
        reader: None,
    })));
    (Sender(Arc::downgrade(&channel)), channel)
}

// === impl Sender ===

impl Sender {
    /// Returns whether the reader is there.
    pub(in crate::call) fn is_read(&self) -> bool {
        self.0.strong_count() > 0
    }

    pub(in crate::call) fn send(&self, update: Update) {
        if let Some(channel) = self.0.upgrade() {
            channel.change(|state| state.queue.push(update));
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if let Some(channel) = self.0.upgrade() {
            channel.change(|state| state.is_closed = true);
        }
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

// === impl Channel ===

impl Channel {
    /// Changes the state, and wakes the reader.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) {
        let mut state = lock(&self.0);
        let displaced = change(&mut state);
        let reader = state.reader.take();
        drop(state);
        drop(displaced);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    pub(super) fn try_recv(&self) -> Option<Update> {
        lock(&self.0).queue.pop()
    }

    pub(super) fn poll_recv(&self, cx: &Context<'_>) -> Poll<Option<Update>> {
        let next = lock(&self.0).poll_next();
        if next.is_ready() {
            return next;
        }
        let waker = cx.waker().clone();
        let mut state = lock(&self.0);
        // Since then an update may have come, and found no waker.
        let next = state.poll_next();
        if next.is_ready() {
            return next;
        }
        let replaced = state.reader.replace(waker);
        drop(state);
        drop(replaced);
        Poll::Pending
    }

    pub(super) fn len(&self) -> usize {
        lock(&self.0).queue.len()
    }
}

// === impl State ===

impl State {
    fn poll_next(&mut self) -> Poll<Option<Update>> {
        match self.queue.pop() {
            None if !self.is_closed => Poll::Pending,
            next => Poll::Ready(next),
        }
    }
}
