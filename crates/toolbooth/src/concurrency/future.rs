use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use toolbooth_core::{CancelReason, End, Item, Part, ToolError};

use super::permits::{AcquirePermit, Permit};
use super::shared::LeaseEnd;
use crate::middleware::{LayerFuture, LayerWatch};

/// The future of [`ConcurrencyLimit`](super::ConcurrencyLimit).
pub type ResponseFuture<S, R> = LayerFuture<S, R, ResponseWatch, AcquirePermit>;

/// Owns the permit until the last byte of the response is delivered.
#[derive(Debug)]
pub struct ResponseWatch {
    permit: Option<Permit>,
    /// For a permit of a shared limit that may be lost.
    lease_end: Option<Box<LeaseEnd>>,
}

// === impl ResponseWatch ===

impl ResponseWatch {
    pub(super) const fn new(permit: Option<Permit>) -> Self {
        Self {
            permit,
            lease_end: None,
        }
    }

    pub(super) fn with_lease(permit: Permit, lease_end: Option<LeaseEnd>) -> Self {
        Self {
            permit: Some(permit),
            lease_end: lease_end.map(Box::new),
        }
    }

    /// Returns the error of a call that has lost its permit, and cancels everything inside.
    #[inline]
    fn lost(&self, part: &Part) -> Option<ToolError> {
        let lease_end = self.lease_end.as_ref()?;
        lease_end.has_come().then(|| cancel(part))
    }
}

impl LayerWatch for ResponseWatch {
    #[inline]
    fn poll_pending(&mut self, part: &Part, cx: &mut Context<'_>) -> Poll<ToolError> {
        match &mut self.lease_end {
            None => Poll::Pending,
            Some(lease_end) => {
                ready!(lease_end.poll(cx));
                Poll::Ready(cancel(part))
            }
        }
    }

    #[inline]
    fn on_item(&mut self, part: &Part, _: Item<'_>) -> ControlFlow<ToolError> {
        match self.lost(part) {
            Some(error) => ControlFlow::Break(error),
            None => ControlFlow::Continue(()),
        }
    }

    #[inline]
    fn poll_interrupt(&mut self, part: &Part, _: &mut Context<'_>) -> Poll<ToolError> {
        match self.lost(part) {
            Some(error) => Poll::Ready(error),
            None => Poll::Pending,
        }
    }

    fn interrupted(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        let lease_end = self.lease_end.as_ref()?;
        Some(Box::pin(lease_end.wait()))
    }

    #[inline(always)]
    fn on_end(self, part: &Part, _: &End<'_>) {
        if let Some(permit) = self.permit {
            permit.release(part);
        }
    }
}

#[cold]
fn cancel(part: &Part) -> ToolError {
    part.cancel(CancelReason::LeaseLost);
    ToolError::cancelled(CancelReason::LeaseLost)
}
