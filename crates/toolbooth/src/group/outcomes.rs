//! The calls of a group. The only place where they start and end.
//!
//! 1. Each call has exactly one outcome, whether or not it was started.
//! 2. Calls start in their order, and at most as many run as the group allows.
//! 3. After a cancellation, no call is polled for a response, and the outcomes of all that are left
//!    are ready.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::vec;

use futures_core::Stream;
use futures_util::stream::FuturesUnordered;
use toolbooth_core::{BoxError, Collected, Moment, ToolError, ToolOutput, ToolRequest};
use tower_service::Service;

use super::CallGroup;
use super::call::{GroupCall, GroupState};
use super::error::succeeded;

/// The outcomes of the calls of a group, as they come: each with the index of its call. Made by
/// [`CallGroup::outcomes`].
///
/// Dropping it ends all calls.
#[must_use = "the calls run while the stream is polled"]
pub struct Outcomes<S, R>
where
    S: Service<R>,
{
    service: S,
    concurrency: usize,
    cancel_on_failure: bool,
    state: Arc<GroupState>,
    queued: vec::IntoIter<R>,
    calls: usize,
    running: FuturesUnordered<GroupCall<S, R>>,
    /// The outcomes of the calls that were running when the group was cancelled.
    cancelled: VecDeque<(usize, Result<Collected, ToolError>)>,
}

// === impl Outcomes ===

impl<S, R> Outcomes<S, R>
where
    R: ToolRequest,
    S: Service<R, Response = ToolOutput> + Clone,
    S::Error: Into<BoxError> + 'static,
{
    pub(super) fn new(group: &CallGroup, service: S, calls: Vec<R>) -> Self {
        let now = Moment::now();
        let is_closed = group.concurrency == Some(0);
        Self {
            service,
            concurrency: group.concurrency.unwrap_or(usize::MAX).max(1),
            cancel_on_failure: group.cancel_on_failure,
            state: Arc::new(GroupState::new(group, now, is_closed)),
            calls: calls.len(),
            queued: calls.into_iter(),
            running: FuturesUnordered::new(),
            cancelled: VecDeque::new(),
        }
    }

    /// Cancels the calls that have not ended, with the reason `Explicit`. The stream returns their
    /// outcomes next.
    pub fn cancel(&mut self) {
        self.state.cancel();
    }

    /// As [`poll_next`](Stream::poll_next).
    pub(super) fn poll_outcome(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<(usize, Result<Collected, ToolError>)>> {
        if self.state.is_cancelled() {
            self.end_running(cx);
        }
        if let Some(outcome) = self.cancelled.pop_front() {
            return Poll::Ready(Some(outcome));
        }
        while self.running.len() < self.concurrency {
            let index = self.calls - self.queued.len();
            let Some(call) = self.queued.next() else {
                break;
            };
            let call = GroupCall::new(index, &mut self.service, call, &self.state);
            self.running.push(call);
        }
        let outcome = ready!(Pin::new(&mut self.running).poll_next(cx));
        if let Some((_, outcome)) = &outcome {
            if self.cancel_on_failure && !succeeded(outcome) {
                self.cancel();
            }
        }
        Poll::Ready(outcome)
    }

    /// Ends the calls that run. Those that have not started are rejected when their turn comes.
    fn end_running(&mut self, cx: &mut Context<'_>) {
        let mut running = std::mem::take(&mut self.running);
        for mut call in Pin::new(&mut running).iter_pin_mut() {
            let outcome = match call.as_mut().poll(cx) {
                Poll::Ready(outcome) => outcome,
                // It is dropped below, which ends it.
                Poll::Pending => (call.index(), Err(self.state.cancellation())),
            };
            self.cancelled.push_back(outcome);
        }
    }
}

impl<S: Service<R>, R> Outcomes<S, R> {
    /// Returns how many outcomes are yet to come.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.queued.len() + self.running.len() + self.cancelled.len()
    }
}

impl<S, R> Stream for Outcomes<S, R>
where
    R: ToolRequest,
    S: Service<R, Response = ToolOutput> + Clone,
    S::Error: Into<BoxError> + 'static,
{
    type Item = (usize, Result<Collected, ToolError>);

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_outcome(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining(), Some(self.remaining()))
    }
}

/// The calls are pinned in allocations of their own.
impl<S: Service<R>, R> Unpin for Outcomes<S, R> {}

impl<S: Service<R>, R> fmt::Debug for Outcomes<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcomes")
            .field("queued", &self.queued.len())
            .field("running", &self.running.len())
            .finish_non_exhaustive()
    }
}
