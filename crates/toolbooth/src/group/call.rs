//! One call of a group.

use std::ops::ControlFlow;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};
use toolbooth_core::{
    Bound, BoxError, CancelReason, Collected, Item, KeepPolicy, LayerName, Moment, OverloadReason,
    Part, TimeoutScope, ToolError, ToolOutput, ToolRequest,
};
use tower_service::Service;

use super::CallGroup;
use crate::middleware::{Decision, LayerFuture, LayerWatch};

/// What the calls of a group share.
#[derive(Debug)]
pub(super) struct GroupState {
    started: Moment,
    deadline: Option<Moment>,
    /// Whether the limit on running calls is 0.
    is_closed: bool,
    cancelled: AtomicBool,
    keep: Option<KeepPolicy>,
    name: LayerName,
}

pin_project! {
    /// A call of the group: it returns the index of the call and its outcome.
    pub(super) struct GroupCall<S, R>
    where
        S: Service<R>,
    {
        index: usize,
        #[pin]
        head: LayerFuture<S, R, GroupWatch>,
        // From the first poll in which the call is pending, if it has a limit.
        #[pin]
        sleep: Option<Sleep>,
        // Collects the response, from its head on.
        body: Option<Pin<Box<dyn Future<Output = Result<Collected, ToolError>> + Send>>>,
    }
}

/// Ends a call at its limit or when its group is cancelled, and keeps what it streams.
#[derive(Debug)]
pub(super) struct GroupWatch {
    group: Arc<GroupState>,
    bound: Option<Bound>,
}

// === impl GroupState ===

impl GroupState {
    pub(super) fn new(group: &CallGroup, now: Moment, is_closed: bool) -> Self {
        Self {
            started: now,
            deadline: group.deadline_from(now),
            is_closed,
            cancelled: AtomicBool::new(false),
            keep: group.keep,
            name: group.name.clone(),
        }
    }

    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    fn decide(self: &Arc<Self>, part: &Part) -> Decision<GroupWatch> {
        if let Some(keep) = self.keep {
            part.keep(keep);
        }
        let bound = self.bound(part);
        let error = self.not_to_start(part, bound);
        if let Some(bound) = bound {
            part.set_bound(bound);
        }
        let watch = GroupWatch {
            group: Arc::clone(self),
            bound,
        };
        match error {
            None => Decision::Start(watch),
            Some(error) => Decision::Reject(watch, error),
        }
    }

    /// Returns the limit of a call that starts now: the deadline of the group, or an earlier one of
    /// its own.
    fn bound(&self, part: &Part) -> Option<Bound> {
        let own = part.bound();
        let Some(deadline) = self.deadline else {
            return own;
        };
        if own.is_some_and(|own| own.at() <= deadline) {
            return own;
        }
        let left = deadline.since(part.now());
        Some(Bound::new(deadline, TimeoutScope::Deadline, left))
    }

    fn not_to_start(&self, part: &Part, bound: Option<Bound>) -> Option<ToolError> {
        if let Some(reason) = part.cancelled_before_start() {
            return Some(ToolError::cancelled(reason));
        }
        if self.is_cancelled() {
            return Some(self.cancellation());
        }
        if self.is_closed {
            let error = ToolError::overloaded(OverloadReason::Closed);
            return Some(error.with_layer(&self.name));
        }
        let (bound, now) = (bound?, part.now());
        if now < bound.at() {
            return None;
        }
        // Counted from the start of the group, in which the call has waited.
        let limit = bound.at().since(self.started);
        let error = ToolError::timeout(bound.scope(), limit, now.since(self.started));
        let error = error.with_layer(&self.name);
        Some(match now > self.started {
            true => error.with_queue(&self.name),
            false => error,
        })
    }

    pub(super) fn cancellation(&self) -> ToolError {
        ToolError::cancelled(CancelReason::Explicit).with_layer(&self.name)
    }
}

// === impl GroupCall ===

impl<S, R> GroupCall<S, R>
where
    R: ToolRequest,
    S: Service<R> + Clone,
    S::Error: Into<BoxError> + 'static,
{
    pub(super) fn new(index: usize, service: &mut S, call: R, group: &Arc<GroupState>) -> Self {
        Self {
            index,
            head: LayerFuture::new(service, call, |part| group.decide(part)),
            sleep: None,
            body: None,
        }
    }
}

impl<S: Service<R>, R> GroupCall<S, R> {
    pub(super) const fn index(&self) -> usize {
        self.index
    }
}

impl<S, R> GroupCall<S, R>
where
    S: Service<R, Response = ToolOutput>,
    S::Error: Into<BoxError> + 'static,
{
    /// Polls for the head of the response.
    fn poll_head(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ToolOutput, ToolError>> {
        let mut this = self.project();
        if let Some((part, watch)) = this.head.as_mut().watch() {
            if watch.group.is_cancelled() {
                let error = watch.cancel(part);
                return Poll::Ready(Err(this.head.fail(error)));
            }
        }
        // The call is polled before its limit: a response that is ready at the limit counts.
        if let Poll::Ready(response) = this.head.as_mut().poll(cx) {
            return Poll::Ready(response);
        }
        let Some((part, watch)) = this.head.as_mut().watch() else {
            return Poll::Pending;
        };
        let Some(bound) = watch.bound else {
            return Poll::Pending;
        };
        if this.sleep.is_none() {
            this.sleep.set(Some(sleep_until(bound.at().instant())));
        }
        if let Some(sleep) = this.sleep.as_pin_mut() {
            // Outside of the cooperative budget, which the calls of the group may have used up.
            ready!(pin!(unconstrained(sleep)).poll(cx));
        }
        let error = watch.expire(part, bound);
        Poll::Ready(Err(this.head.fail(error)))
    }
}

impl<S, R> Future for GroupCall<S, R>
where
    S: Service<R, Response = ToolOutput>,
    S::Error: Into<BoxError> + 'static,
{
    type Output = (usize, Result<Collected, ToolError>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.body.is_none() {
            let head = ready!(self.as_mut().poll_head(cx));
            match head {
                Ok(response) => *self.as_mut().project().body = Some(Box::pin(response.collect())),
                Err(error) => return Poll::Ready((self.index, Err(error))),
            }
        }
        match self.as_mut().project().body {
            Some(body) => body.as_mut().poll(cx).map(|outcome| (self.index, outcome)),
            None => Poll::Pending,
        }
    }
}

// === impl GroupWatch ===

impl GroupWatch {
    /// Cancels everything inside of the call since its group is cancelled, and returns the error.
    fn cancel(&self, part: &Part) -> ToolError {
        part.cancel(CancelReason::Explicit);
        self.group.cancellation()
    }

    /// Cancels everything inside of the call at its limit, and returns the error.
    fn expire(&self, part: &Part, bound: Bound) -> ToolError {
        let context = part.context();
        tracing::debug!(
            tool = context.tool(),
            call_id = %context.id(),
            layer = %self.group.name,
            limit = ?bound.limit(),
            waited = ?context.elapsed(),
            "timed out"
        );
        part.expire(&self.group.name, bound);
        bound.error(context).with_layer(&self.group.name)
    }

    /// Returns the error of a streaming response that is to end now.
    fn interrupt(&self, part: &Part) -> Option<ToolError> {
        if self.group.is_cancelled() {
            return Some(self.cancel(part));
        }
        let bound = self.bound.filter(|bound| bound.at() <= Moment::now())?;
        Some(self.expire(part, bound))
    }
}

impl LayerWatch for GroupWatch {
    fn on_item(&mut self, part: &Part, item: Item<'_>) -> ControlFlow<ToolError> {
        part.keep_streamed(item);
        match self.interrupt(part) {
            Some(error) => ControlFlow::Break(error),
            None => ControlFlow::Continue(()),
        }
    }

    fn poll_interrupt(&mut self, part: &Part, _: &mut Context<'_>) -> Poll<ToolError> {
        match self.interrupt(part) {
            Some(error) => Poll::Ready(error),
            None => Poll::Pending,
        }
    }

    fn expires_at(&self, _: &Part) -> Option<Instant> {
        self.bound.map(|bound| bound.at().instant())
    }
}
