//! Whether a layer holds an attempt back.

use std::sync::atomic::Ordering;

use super::Attempt;
use crate::error::Waited;
use crate::sync::lock;

/// Whether a layer holds the attempt back: while it queues, and after it was rejected.
///
/// An attempt made inside of a layer counts for the attempt around, too. So a layer outside of a
/// retry sees whether any attempt got through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeldBack {
    No,
    Yes,
    /// No, and an attempt inside has been called.
    Called,
    /// An attempt was not held back, and another one was called since: this stays.
    Never,
}

// === impl Attempt ===

impl Attempt {
    /// Sets whether a layer holds the attempt back.
    pub(crate) fn set_held_back(&self, held_back: bool) {
        let (own, around) = match held_back {
            true => (HeldBack::Yes, HeldBack::Yes),
            false => (HeldBack::No, HeldBack::Called),
        };
        self.update_held_back(own);
        let mut attempt = self;
        while let Some(link) = attempt.link() {
            attempt = &link.attempt;
            attempt.update_held_back(around);
        }
    }

    fn update_held_back(&self, held_back: HeldBack) {
        let mut state = self.change();
        if state.held_back != HeldBack::Never {
            state.held_back = held_back;
        }
        state.latest_is_held_back = held_back == HeldBack::Yes;
        if held_back == HeldBack::Yes {
            self.layers.was_held_back.store(true, Ordering::Release);
        }
    }

    /// Returns whether no attempt got past the layers inside.
    #[inline]
    pub(crate) fn is_held_back(&self) -> bool {
        self.layers.was_held_back.load(Ordering::Acquire)
            && lock(&self.state).held_back == HeldBack::Yes
    }

    /// Returns whether layers inside hold back the latest attempt.
    pub(crate) fn is_latest_held_back(&self) -> bool {
        self.layers.was_held_back.load(Ordering::Acquire) && lock(&self.state).latest_is_held_back
    }

    /// Records where the call waits when it ends early.
    #[cold]
    pub(crate) fn set_waited(&self, waited: Waited) {
        self.outermost().change().rare().waited = Some(waited);
    }

    /// Returns what was recorded since the last cancellation, once.
    pub(crate) fn take_waited(&self) -> Option<Waited> {
        self.outermost().with_rare(|rare| rare.waited.take())?
    }

    /// Returns the attempt that all attempts of this call are made inside of.
    fn outermost(&self) -> &Self {
        let mut attempt = self;
        while let Some(link) = attempt.link() {
            attempt = &link.attempt;
        }
        attempt
    }

    /// Notifies the enclosing attempts that a later attempt enters its first layer.
    pub(super) fn try_again(&self) {
        let mut attempt = self;
        while let Some(link) = attempt.link() {
            attempt = &link.attempt;
            let was_called = attempt.depth() > link.depth;
            let mut state = attempt.change();
            state.held_back = match state.held_back {
                HeldBack::No if was_called => HeldBack::Never,
                HeldBack::No | HeldBack::Yes => HeldBack::Called,
                HeldBack::Called | HeldBack::Never => HeldBack::Never,
            };
            state.latest_is_held_back = false;
        }
    }
}
