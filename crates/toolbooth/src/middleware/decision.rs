use std::convert::Infallible;
use std::task::{Context, Poll};

use toolbooth_core::{LayerName, Part, ToolError};

/// What a layer decides about a call in `call`, before the inner service is polled.
///
/// Each variant contains the layer's [`LayerWatch`](super::LayerWatch), which is notified of the
/// end of the call in all three cases.
#[derive(Debug)]
#[non_exhaustive]
pub enum Decision<W, A = Infallible> {
    /// The inner service is called now, or as soon as it is ready.
    Start(W),
    /// The inner service is called after the future has acquired what the layer needs.
    Wait(W, A),
    /// The call fails with this error. The inner service is not polled.
    Reject(W, ToolError),
}

/// A [`Decision`] whose watch is in a [`Slot`]. Made by the slot.
pub(crate) enum Verdict<A> {
    Start,
    Wait(A),
    Reject(ToolError),
}

/// Where the watch of a layer stays until the response is returned.
pub(crate) struct Slot<'a, W>(&'a mut Option<W>);

/// Waits for what a layer needs before it calls the inner service: a permit, a token.
///
/// It is polled inside of the call's future. Dropping it must cancel the wait. What was acquired
/// is stored in the watch `W`, whose drop releases it.
pub trait Acquire<W>: Unpin {
    /// Polls for what the layer needs. An error rejects the call.
    fn poll_acquire(
        &mut self,
        part: &Part,
        watch: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ToolError>>;

    /// Returns the layer whose queue the call waits in. `None` by default.
    ///
    /// The error of a timeout outside names it. A wait is reported as
    /// [`EventKind::Queued`](toolbooth_core::EventKind::Queued), and its end as `Admitted`.
    fn queue(&self) -> Option<&LayerName> {
        None
    }

    /// Called after the wait, when the inner service has been called. The layers inside have
    /// decided by then: see [`Part::is_held_back`]. The default does nothing.
    fn on_called(&mut self, part: &Part, watch: &mut W) {
        let _ = (part, watch);
    }
}

/// For layers that never wait.
impl<W> Acquire<W> for Infallible {
    fn poll_acquire(
        &mut self,
        _: &Part,
        _: &mut W,
        _: &mut Context<'_>,
    ) -> Poll<Result<(), ToolError>> {
        match *self {}
    }
}

// === impl Slot ===

impl<'a, W> Slot<'a, W> {
    #[inline(always)]
    pub(super) const fn new(slot: &'a mut Option<W>) -> Self {
        Self(slot)
    }

    #[inline(always)]
    pub(super) fn fill<A>(self, decision: Decision<W, A>) -> Verdict<A> {
        match decision {
            Decision::Start(watch) => self.start(watch),
            Decision::Wait(watch, acquire) => self.wait(watch, acquire),
            Decision::Reject(watch, error) => self.reject(watch, error),
        }
    }

    /// As [`Decision::Start`].
    #[inline(always)]
    pub(crate) fn start<A>(self, watch: W) -> Verdict<A> {
        *self.0 = Some(watch);
        Verdict::Start
    }

    /// As [`Decision::Wait`].
    #[inline(always)]
    pub(crate) fn wait<A>(self, watch: W, acquire: A) -> Verdict<A> {
        *self.0 = Some(watch);
        Verdict::Wait(acquire)
    }

    /// As [`Decision::Reject`].
    #[inline(always)]
    pub(crate) fn reject<A>(self, watch: W, error: ToolError) -> Verdict<A> {
        *self.0 = Some(watch);
        Verdict::Reject(error)
    }
}
