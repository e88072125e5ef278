//! Cancels a call from outside of its layers.

use std::fmt;
use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

use crate::outcome::CancelReason;

/// Cancels a call from wherever the handle is: another task, another thread.
///
/// Take it [from the call](crate::ToolCall::canceller) before the call is made, or put a
/// [new](Self::new) one into the extensions of an `http::Request` before its context is made.
///
/// The call then ends with [`Cancelled`](crate::ToolError::Cancelled) and
/// [`CancelReason::Explicit`] in whatever state it is: in a queue, in its tool, within its
/// streaming response, or about to be made. Everything inside is notified first
/// ([`cancelled`](crate::CallContext::cancelled)). What it has ready at that moment still counts.
/// Then it is dropped. The outermost layer ends the call: a tool without layers is only notified.
///
/// It cancels the attempt from whose `ToolCall` it was taken, and every attempt forked from that
/// one afterwards. So a handle taken before the call is made cancels all attempts of a retry.
/// A handle taken from a `ToolCall` inside of layers, by a tool or another crate's layer, cancels
/// what that call enters from then on. The layers outside see the inner call fail.
///
/// Once the call is over it does nothing. Dropping the handle does nothing.
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

/// The cancellation of an attempt from outside of its layers.
///
/// Made when something first takes a handle, waits for cancellation or makes a child call.
#[derive(Debug)]
pub(super) struct Signal {
    token: CancellationToken,
    /// Unset while not cancelled, and where the token was cancelled with its parent token.
    reason: OnceLock<CancelReason>,
    /// How many layers the attempt had entered when a handle was taken. The next layer ends the
    /// call. Unset while there is no handle.
    entered: OnceLock<u32>,
    /// Whether the parent token belongs to the call that made this one.
    is_child: bool,
}

// === impl Canceller ===

impl Canceller {
    /// Creates a handle for the extensions of an `http::Request`.
    ///
    /// The request's context takes it when it is made: before the outermost of our layers, and
    /// before [`ToolRequest::context`](crate::ToolRequest::context). Requests that share a handle
    /// are cancelled together.
    #[must_use]
    pub fn new() -> Self {
        let signal = Signal::new(CancellationToken::new(), false);
        let _ = signal.entered.set(0);
        Self(Arc::new(signal))
    }

    pub(super) const fn of(signal: Arc<Signal>) -> Self {
        Self(signal)
    }

    #[cfg(feature = "http")]
    pub(super) fn into_signal(self) -> Arc<Signal> {
        self.0
    }

    /// Cancels the call.
    ///
    /// When this returns, everything inside has been notified. The call ends when its task is
    /// polled next, for which it is woken. A streaming response ends on its task beside the
    /// consumer, or at the consumer's next poll where there is no runtime.
    pub fn cancel(&self) {
        self.0.cancel(CancelReason::Explicit);
    }
}

impl Default for Canceller {
    fn default() -> Self {
        Self::new()
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
    pub(super) const fn new(token: CancellationToken, is_child: bool) -> Self {
        Self {
            token,
            reason: OnceLock::new(),
            entered: OnceLock::new(),
            is_child,
        }
    }

    pub(super) const fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Takes note that there is a handle to an attempt that has entered this many layers.
    pub(super) fn arm(&self, entered: u32) {
        let _ = self.entered.set(entered);
    }

    /// Returns how many layers the attempt had entered when a handle was taken, if one was.
    pub(super) fn entered(&self) -> Option<u32> {
        self.entered.get().copied()
    }

    /// Cancels unless it is cancelled already: the first reason stays.
    pub(super) fn cancel(&self, reason: CancelReason) {
        if !self.token.is_cancelled() {
            let _ = self.reason.set(reason);
        }
        self.token.cancel();
    }

    /// Returns why it was cancelled. `None` for the token of a fork that was cancelled with the
    /// attempt around it: the reason is that attempt's.
    pub(super) fn reason(&self) -> Option<CancelReason> {
        match self.reason.get() {
            None if self.is_child && self.token.is_cancelled() => {
                Some(*self.reason.get_or_init(|| CancelReason::Parent))
            }
            reason => reason.copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_stays() {
        let above = CancellationToken::new();
        let child = Signal::new(above.child_token(), true);
        assert_eq!(child.reason(), None);
        above.cancel();
        child.cancel(CancelReason::Explicit);
        assert_eq!(child.reason(), Some(CancelReason::Parent));

        let own = Signal::new(above.child_token(), true);
        let _ = own.reason();
        let root = Signal::new(CancellationToken::new(), false);
        root.cancel(CancelReason::Explicit);
        root.cancel(CancelReason::Shutdown);
        assert_eq!(root.reason(), Some(CancelReason::Explicit));
        assert_eq!(own.reason(), Some(CancelReason::Parent));
    }

    #[test]
    fn a_token_cancelled_with_the_attempt_around_has_no_reason_of_its_own() {
        let around = CancellationToken::new();
        let fork = Signal::new(around.child_token(), false);
        around.cancel();
        assert_eq!(fork.reason(), None);
        assert!(fork.token().is_cancelled());
    }
}
