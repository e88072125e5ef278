//! Cancelling a call from outside: by its owner, or with the call that made it.

use std::fmt;
use std::sync::{Arc, Mutex, Weak};

use super::attempt::Attempt;
use crate::outcome::CancelReason;
use crate::sync::lock;

/// Cancels a call from wherever it is held: from another task, from a button.
///
/// Take it [from the call](crate::ToolCall::canceller) before the call is made. Then the call ends with
/// [`Cancelled`](crate::ToolError::Cancelled) and [`CancelReason::Explicit`], wherever it is: in a waiting line, in its
/// tool, within its streamed answer, or about to be made. Everything inside is told first ([`cancelled`](crate::CallContext::cancelled)); what it has ready at that
/// moment still counts; then it is dropped. It is the outermost layer that ends the call; a tool without any layer around is only told.
///
/// The first canceller of a call may be taken later, too: while the call waits, or by another thread in the very moment in which it is made, from
/// any handle of its context, whichever attempt that is of. None is lost: the call finds out when it is next polled, and
/// from then on as if it had been taken before. Until that poll whoever waits may not be woken for it; but asked
/// [whether it is cancelled](crate::CallContext::is_cancelled), the context says so at once. A streamed answer that the caller has by then is no longer cut.
///
/// All attempts of the call are cancelled, those to come included. Once the call is over it does nothing; and dropping it does nothing.
///
/// ```
/// use toolbooth_core::{CancelReason, ToolCall};
///
/// let call = ToolCall::new("search", serde_json::json!({ "pattern": "TODO" }));
/// let canceller = call.canceller();
/// let context = call.context().clone();
/// canceller.cancel();
/// assert_eq!(context.cancel_reason(), Some(CancelReason::Explicit));
/// ```
#[derive(Clone)]
pub struct Canceller(Arc<Signal>);

/// Whether a call is cancelled from outside of all its layers, and whom to tell.
#[derive(Debug, Default)]
pub(super) struct Signal(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    reason: Option<CancelReason>,
    attempts: Vec<Weak<Attempt>>,
}

// === impl Canceller ===

impl Canceller {
    pub(super) const fn new(signal: Arc<Signal>) -> Self {
        Self(signal)
    }

    /// Cancels the call. When this returns, everything inside has been told, and a streamed answer is over; a call whose
    /// answer is waited for ends when its task polls it, for which it is woken. Where the first canceller was taken late, [see above](Self).
    pub fn cancel(&self) {
        self.0.cancel(CancelReason::Explicit);
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canceller")
            .field("cancelled", &self.0.reason())
            .finish_non_exhaustive()
    }
}

// === impl Signal ===

impl Signal {
    /// The first one's reason counts.
    pub(super) fn cancel(&self, reason: CancelReason) {
        let mut state = lock(&self.0);
        if state.reason.is_some() {
            return;
        }
        state.reason = Some(reason);
        let attempts = state.attempts.clone();
        drop(state);
        for attempt in attempts.iter().filter_map(Weak::upgrade) {
            attempt.cancel_by_owner(reason);
        }
    }

    pub(super) fn reason(&self) -> Option<CancelReason> {
        lock(&self.0).reason
    }

    /// An attempt that is to be told; it is told at once where that is late.
    pub(super) fn join(&self, attempt: &Arc<Attempt>) {
        let weak = Arc::downgrade(attempt);
        let mut state = lock(&self.0);
        if !state.attempts.iter().any(|other| other.ptr_eq(&weak)) {
            state.attempts.retain(|other| other.strong_count() > 0);
            state.attempts.push(weak);
        }
        let reason = state.reason;
        drop(state);
        if let Some(reason) = reason {
            attempt.cancel_by_owner(reason);
        }
    }
}
