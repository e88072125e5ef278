use std::fmt;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use toolbooth_core::{BoxError, CancelReason, End, ErrorKind, Item, Part, ToolError, ToolResponse};
use tower_service::Service;

use super::calls::Wait;
use super::shared::{InFlight, Shared};
use crate::middleware::{LayerFuture, LayerWatch, PartWatch};

pin_project! {
    /// The future of [`Shutdown`](super::Shutdown).
    #[must_use = "dropping it ends the call"]
    pub struct ResponseFuture<S, R>
    where
        S: Service<R>,
    {
        #[pin]
        inner: LayerFuture<S, R, ResponseWatch>,
        // From the first poll in which the call is pending.
        wait: Option<Wait>,
    }
}

/// Counts a call until its end, and cancels it at the end of a grace period.
#[derive(Debug)]
pub struct ResponseWatch(Admission);

/// How the layer admitted a call.
#[derive(Debug)]
pub(super) enum Admission {
    /// The layer is off.
    Off,
    /// The call is counted, and cancelled with the others.
    Counted(InFlight),
    /// The call was rejected, or it belongs to a call that is counted, and ends with it.
    Uncounted(Arc<Shared>),
}

// === impl ResponseFuture ===

impl<S: Service<R>, R> ResponseFuture<S, R> {
    #[inline(always)]
    pub(super) const fn new(inner: LayerFuture<S, R, ResponseWatch>) -> Self {
        Self { inner, wait: None }
    }
}

impl<S, R> Future for ResponseFuture<S, R>
where
    S: Service<R>,
    S::Response: ToolResponse,
    S::Error: Into<BoxError> + 'static,
{
    type Output =
        Result<<S::Response as ToolResponse>::Watched<PartWatch<ResponseWatch>>, ToolError>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some((part, watch)) = this.inner.as_mut().watch() {
            if let Some(error) = watch.cancelled(part) {
                return Poll::Ready(end(this.inner, error, cx));
            }
        }
        if let Poll::Ready(result) = this.inner.as_mut().poll(cx) {
            return Poll::Ready(result);
        }
        let Some((part, watch)) = this.inner.as_mut().watch() else {
            return Poll::Pending;
        };
        let error = ready!(watch.poll_cancelled(part, this.wait, cx));
        Poll::Ready(end(this.inner, error, cx))
    }
}

/// Ends a call whose context was cancelled. A response or an error that is ready counts, unless the
/// error only reports the cancellation.
///
/// The poll comes after the cancellation, so that it starts nothing: a waiter that is granted the
/// permit of another cancelled call sees that its own call is cancelled.
#[cold]
fn end<S, R>(
    mut inner: Pin<&mut LayerFuture<S, R, ResponseWatch>>,
    error: ToolError,
    cx: &mut Context<'_>,
) -> Result<<S::Response as ToolResponse>::Watched<PartWatch<ResponseWatch>>, ToolError>
where
    S: Service<R>,
    S::Response: ToolResponse,
    S::Error: Into<BoxError> + 'static,
{
    match inner.as_mut().poll_response(cx) {
        Poll::Ready(Ok(response)) => Ok(inner.watch_response(response)),
        Poll::Ready(Err(own)) if own.kind() != ErrorKind::Cancelled => Err(inner.fail(own)),
        Poll::Ready(Err(_)) | Poll::Pending => Err(inner.fail(error)),
    }
}

impl<S: Service<R>, R> fmt::Debug for ResponseFuture<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

// === impl ResponseWatch ===

impl ResponseWatch {
    pub(super) const fn new(admission: Admission) -> Self {
        Self(admission)
    }

    fn poll_cancelled(
        &mut self,
        part: &Part,
        wait: &mut Option<Wait>,
        cx: &mut Context<'_>,
    ) -> Poll<ToolError> {
        let Admission::Counted(call) = &mut self.0 else {
            return Poll::Pending;
        };
        ready!(call.shared().calls.poll_cancelled(wait, cx));
        Poll::Ready(cancel(call, part))
    }

    /// Returns the error of a call that is to end now, and cancels everything inside.
    #[inline]
    fn cancelled(&mut self, part: &Part) -> Option<ToolError> {
        match &mut self.0 {
            Admission::Counted(call) if call.shared().calls.are_cancelled() => {
                Some(cancel(call, part))
            }
            _ => None,
        }
    }
}

impl LayerWatch for ResponseWatch {
    fn on_item(&mut self, part: &Part, _: Item<'_>) -> ControlFlow<ToolError> {
        match self.cancelled(part) {
            Some(error) => ControlFlow::Break(error),
            None => ControlFlow::Continue(()),
        }
    }

    fn poll_interrupt(&mut self, part: &Part, _: &mut Context<'_>) -> Poll<ToolError> {
        match self.cancelled(part) {
            Some(error) => Poll::Ready(error),
            None => Poll::Pending,
        }
    }

    fn interrupted(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        match &self.0 {
            Admission::Counted(call) => Some(Box::pin(call.shared().calls.cancelled())),
            Admission::Off | Admission::Uncounted(_) => None,
        }
    }

    /// A token of a call is kept by what outlives it, whichever layer runs the hooks.
    #[inline]
    fn on_end(self, part: &Part, end: &End<'_>) {
        let shared = match &self.0 {
            Admission::Off => return,
            Admission::Counted(call) => {
                let shared = call.shared();
                if part.may_be_outlived() {
                    part.release_permit(shared.id, shared.outliving.token());
                } else {
                    part.release(shared.id);
                }
                call.end(end.outcome());
                call.shared()
            }
            Admission::Uncounted(shared) => shared,
        };
        part.count_blocking(|| shared.tracker.orphan());
        if let Some(hooks) = part.take_hooks() {
            shared.run(hooks, part.cleanup_end(end.outcome()));
        }
    }
}

#[cold]
fn cancel(call: &mut InFlight, part: &Part) -> ToolError {
    let context = part.context();
    tracing::debug!(
        tool = context.tool(),
        call_id = %context.id(),
        "cancelled: the service is shutting down"
    );
    call.set_notified();
    part.cancel(CancelReason::Shutdown);
    ToolError::cancelled(CancelReason::Shutdown)
}
