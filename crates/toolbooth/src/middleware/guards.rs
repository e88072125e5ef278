//! Guards that end a call if foreign code panics.

use std::pin::Pin;
use std::task::{Context, Poll};

use toolbooth_core::{End, Outcome, Part, ToolError};
use tower_service::Service;
use tracing::{Span, span};

use super::state::Waiting;
use super::{Acquire, LayerFuture, LayerWatch};

/// A call that has entered the layer. Both fields are `Some` until the end, but the watch is `None`
/// before the decision. Dropping the value before the end ends the call as panicked.
pub(super) struct Entered<W: LayerWatch> {
    pub(super) part: Option<Part>,
    pub(super) watch: Option<W>,
}

/// Ends the call as panicked, unless it is disarmed.
pub(super) struct PanicGuard<'a, S: Service<R>, R, W: LayerWatch, A> {
    future: Pin<&'a mut LayerFuture<S, R, W, A>>,
    armed: bool,
}

/// Enters the span of the layer, if it has one, until the guard is dropped.
#[inline(always)]
pub(super) fn enter_span<W: LayerWatch>(watch: &Option<W>) -> Option<span::Entered<'_>> {
    watch.as_ref().and_then(W::span).map(Span::enter)
}

// === impl Entered ===

impl<W: LayerWatch> Entered<W> {
    pub(super) fn catches_panics(&self) -> bool {
        self.watch.as_ref().is_some_and(W::catches_panics)
    }

    /// Polls for what the layer needs before it starts a waiting call.
    pub(super) fn poll_acquire<S, R, A: Acquire<W>>(
        &mut self,
        call: &mut Waiting<S, R, A>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ToolError>> {
        let (Some(part), Some(watch)) = (&self.part, &mut self.watch) else {
            return Poll::Ready(Ok(()));
        };
        // Nothing starts in the grace period of a timeout.
        if let Some(reason) = part.context().cancel_reason() {
            return Poll::Ready(Err(ToolError::cancelled(reason)));
        }
        if let Some(acquire) = call.acquire.as_mut().filter(|_| !call.acquired) {
            let Poll::Ready(acquired) = acquire.poll_acquire(part, watch, cx) else {
                call.report_queued(part);
                return Poll::Pending;
            };
            acquired?;
            part.mark_admitted();
            call.acquired = true;
            call.report_admitted(part);
        }
        Poll::Ready(Ok(()))
    }

    #[cold]
    pub(super) fn end(&mut self, mut end: End<'_>) {
        let Some(part) = self.part.take() else { return };
        let watch = self.watch.take();
        if end.outcome() == Outcome::Panicked && watch.is_some() {
            // The tool may have panicked while it was called.
            part.report_started();
        }
        if let (End::Failed(error), Some(watch)) = (&mut end, &watch) {
            watch.on_error(error);
        }
        let span = watch.as_ref().and_then(W::span).cloned();
        let _entered = span.as_ref().map(Span::enter);
        part.end(end, |part, end| {
            if let Some(watch) = watch {
                watch.on_end(part, end);
            }
        });
    }
}

impl<W: LayerWatch> Default for Entered<W> {
    fn default() -> Self {
        Self {
            part: None,
            watch: None,
        }
    }
}

impl<W: LayerWatch> Drop for Entered<W> {
    #[inline]
    fn drop(&mut self) {
        // Mostly the call has ended.
        if self.part.is_some() {
            self.end(End::Panicked);
        }
    }
}

// === impl PanicGuard ===

impl<'a, S: Service<R>, R, W: LayerWatch, A> PanicGuard<'a, S, R, W, A> {
    #[inline(always)]
    pub(super) fn new(future: Pin<&'a mut LayerFuture<S, R, W, A>>) -> Self {
        let armed = true;
        Self { future, armed }
    }

    #[inline(always)]
    pub(super) fn future(&mut self) -> Pin<&mut LayerFuture<S, R, W, A>> {
        self.future.as_mut()
    }

    #[inline(always)]
    pub(super) fn disarm(mut self) {
        self.armed = false;
    }
}

impl<S: Service<R>, R, W: LayerWatch, A> Drop for PanicGuard<'_, S, R, W, A> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.armed {
            self.future().end(End::Panicked);
        }
    }
}
