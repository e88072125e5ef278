//! The future of every layer.
//!
//! Invariants:
//! 1. The layer's watch is notified of the end exactly once, by value, after everything inside was
//!    dropped and before the caller sees the outcome.
//! 2. The inner service is polled for readiness only here. An instance that was not ready moves
//!    into the future, which polls it again; a fresh clone stays behind.
//! 3. Nothing inside is polled while the layer waits to acquire what it needs.
//! 4. The inner future is dropped in the poll in which it completes, before its result is used.
//! 5. A panic of foreign code ends the call as panicked, and continues; or it becomes the call's
//!    error, in a layer that catches panics.

use std::convert::Infallible;
use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use toolbooth_core::{
    BoxError, CancelReason, End, ErrorKind, Part, ToolError, ToolRequest, ToolResponse,
};
use tower_service::Service;

use super::decision::{Slot, Verdict};
use super::guards::{Entered, PanicGuard, enter_span};
use super::state::{State, StateProj};
use super::{Acquire, Decision, LayerWatch, PartWatch};

pin_project! {
    /// The future of a call through a layer.
    ///
    /// It acquires what the layer needs, calls the inner service, and notifies the layer's
    /// [watch](LayerWatch) `W` of the end. Dropping it ends the call.
    #[must_use = "dropping it ends the call"]
    pub struct LayerFuture<S, R, W, A = Infallible>
    where
        S: Service<R>,
        W: LayerWatch,
    {
        #[pin]
        state: State<S, R, A>,
        entered: Entered<W>,
    }

    impl<S: Service<R>, R, W: LayerWatch, A> PinnedDrop for LayerFuture<S, R, W, A> {
        fn drop(this: Pin<&mut Self>) {
            if let Some(part) = &this.entered.part {
                // The tool can read the reason while it is dropped.
                part.cancel_dropped();
                this.end(End::Dropped(CancelReason::CallerGone));
            }
        }
    }
}

// === impl LayerFuture ===

impl<S, R, W, A> LayerFuture<S, R, W, A>
where
    S: Service<R> + Clone,
    S::Error: Into<BoxError> + 'static,
    W: LayerWatch,
    A: Acquire<W>,
{
    /// Enters the layer, lets it decide, and calls `inner` if so decided.
    ///
    /// `decide` may acquire what the layer needs if that is available at once. A call that was
    /// cancelled before it was made is not started, whatever was decided.
    #[inline(always)]
    pub fn new<D>(inner: &mut S, request: R, decide: D) -> Self
    where
        R: ToolRequest,
        D: FnOnce(&Part) -> Decision<W, A>,
    {
        Self::with_request(inner, request, |part, _| decide(part))
    }

    /// As [`new`](Self::new), for a layer whose decision depends on the request.
    #[inline(always)]
    pub fn with_request<D>(inner: &mut S, request: R, decide: D) -> Self
    where
        R: ToolRequest,
        D: FnOnce(&Part, &R) -> Decision<W, A>,
    {
        let decide = |part: &Part, request: &R, slot: Slot<'_, W>| slot.fill(decide(part, request));
        Self::enter(inner, request, decide, |_, _| ())
    }

    /// As [`with_request`](Self::with_request), with a decision that writes the watch where it
    /// stays. A copy of what was written just before waits for the store buffer, which costs as
    /// much as the decision (benchmark line `ready`).
    ///
    /// `called` is called if the call starts at once, after the inner service has been called.
    #[inline(always)]
    pub(crate) fn enter<D, C>(inner: &mut S, mut request: R, decide: D, called: C) -> Self
    where
        R: ToolRequest,
        D: FnOnce(&Part, &R, Slot<'_, W>) -> Verdict<A>,
        C: FnOnce(&Part, &mut W),
    {
        // Made before foreign code is called, which may panic.
        let mut entered = Entered::default();
        let part = &*entered.part.insert(Part::enter(request.context()));
        let reading = part.carry();
        let verdict = decide(part, &request, Slot::new(&mut entered.watch));
        let state = match verdict {
            Verdict::Start => {
                let catches = entered.watch.as_ref().is_some_and(W::catches_panics);
                if let Some(reason) = part.cancelled_before_start() {
                    part.hold_back();
                    State::failed(ToolError::cancelled(reason))
                } else if catches {
                    let span = enter_span(&entered.watch);
                    let start = || State::start(part, inner, request);
                    let started = catch_unwind(AssertUnwindSafe(start));
                    drop(span);
                    part.report_started();
                    started.unwrap_or_else(|panic| State::failed(ToolError::from_panic(&*panic)))
                } else if part.reports_start() {
                    let span = enter_span(&entered.watch);
                    let state = State::start_and_report(part, inner, request);
                    drop(span);
                    if let Some(watch) = &mut entered.watch {
                        called(part, watch);
                    }
                    state
                } else {
                    // Returned here: the inner future is moved once less.
                    let span = enter_span(&entered.watch);
                    let state = State::start(part, inner, request);
                    drop(span);
                    if let Some(watch) = &mut entered.watch {
                        called(part, watch);
                    }
                    drop(reading);
                    return Self { state, entered };
                }
            }
            Verdict::Wait(acquire) => {
                part.hold_back();
                let queue = acquire.queue().cloned();
                State::waiting(Some(acquire), queue, inner.clone(), request)
            }
            Verdict::Reject(error) => {
                part.hold_back();
                State::failed(error)
            }
        };
        drop(reading);
        Self { state, entered }
    }
}

impl<S: Service<R>, R, W: LayerWatch, A> LayerFuture<S, R, W, A> {
    /// Returns the layer's part of the call and its watch; `None` after the end.
    #[must_use]
    pub fn watch(self: Pin<&mut Self>) -> Option<(&Part, &mut W)> {
        let Entered { part, watch } = self.project().entered;
        part.as_ref().zip(watch.as_mut())
    }

    /// Reports that the tool has started, for an events layer, unless the call waits.
    #[cold]
    pub(crate) fn report_started(&self) {
        if let Some(part) = &self.entered.part {
            self.state.report_started(part);
        }
    }

    /// Ends the call with an error: drops the inner future, then notifies the watch.
    ///
    /// Returns the error with the partial results of the call.
    #[must_use]
    pub fn fail(self: Pin<&mut Self>, mut error: ToolError) -> ToolError {
        self.end(End::Failed(&mut error));
        error
    }

    /// Records where the call waits, if a layer outside ends it.
    fn record_queue(&self, end: &End<'_>) {
        let own_error = matches!(end, End::Failed(error) if error.kind() != ErrorKind::Cancelled);
        let queue = self.state.queue().filter(|_| !own_error);
        if let (Some(queue), Some(part)) = (queue, &self.entered.part) {
            part.set_queue(queue);
        }
    }

    pub(super) fn end(self: Pin<&mut Self>, end: End<'_>) {
        let catches = self.entered.catches_panics();
        self.record_queue(&end);
        let mut this = self.project();
        // If the drop panics, dropping `entered` ends the call as panicked.
        let mut entered = mem::take(this.entered);
        let mut drop_inside = || {
            let _span = enter_span(&entered.watch);
            this.state.set(State::Done);
        };
        if !catches {
            drop_inside();
        } else if let Err(panic) = catch_unwind(AssertUnwindSafe(drop_inside)) {
            let panic = ToolError::from_panic(&*panic);
            tracing::warn!(%panic, "a tool panicked when its call was dropped");
        }
        entered.end(end);
    }
}

impl<S, R, W, A> LayerFuture<S, R, W, A>
where
    S: Service<R>,
    S::Error: Into<BoxError> + 'static,
    W: LayerWatch,
    A: Acquire<W>,
{
    /// Polls for the response, which is not watched yet.
    ///
    /// For layers that handle the result themselves; the others poll the future. When this returns
    /// `Ready`, the inner future has been dropped.
    #[inline(always)]
    pub fn poll_response(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<S::Response, ToolError>> {
        if self.entered.catches_panics() {
            return catch_unwind(AssertUnwindSafe(|| self.poll_inner(cx)))
                .unwrap_or_else(|panic| Poll::Ready(Err(ToolError::from_panic(&*panic))));
        }
        let mut guard = PanicGuard::new(self);
        let polled = guard.future().poll_inner(cx);
        guard.disarm();
        polled
    }

    #[inline(always)]
    fn poll_inner(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<S::Response, ToolError>> {
        if !matches!(self.state, State::Running { .. }) {
            ready!(self.as_mut().poll_start(cx))?;
        }
        let result = ready!(self.as_mut().poll_running(cx));
        self.drop_inside();
        Poll::Ready(result.map_err(ToolError::from_error))
    }

    #[inline(always)]
    fn poll_running(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<S::Response, S::Error>> {
        let this = self.project();
        let _span = enter_span(&this.entered.watch);
        match this.state.project() {
            StateProj::Running { future } => future.poll(cx),
            _ => Poll::Pending,
        }
    }

    /// Drops the inner future, which is complete.
    #[inline(always)]
    fn drop_inside(self: Pin<&mut Self>) {
        let mut this = self.project();
        let _span = enter_span(&this.entered.watch);
        this.state.set(State::Done);
    }

    /// Polls a call that has not started, or whose panics are caught.
    #[cold]
    fn poll_slowly(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<<S::Response as ToolResponse>::Watched<PartWatch<W>>, ToolError>>
    where
        S::Response: ToolResponse,
    {
        match self.as_mut().poll_response(cx) {
            Poll::Ready(Ok(response)) => Poll::Ready(Ok(self.watch_response(response))),
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.fail(error))),
            Poll::Pending => self.poll_ended(cx).map(Err),
        }
    }

    /// Polls for what ends a pending call: the watch of the layer, or cancellation from outside of
    /// the layers.
    #[inline(always)]
    fn poll_ended(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<ToolError> {
        let Some((part, watch)) = self.as_mut().watch() else {
            return Poll::Pending;
        };
        if let Poll::Ready(error) = watch.poll_pending(part, cx) {
            return Poll::Ready(self.fail(error));
        }
        let polled = part.poll_cancelled(cx);
        polled.map(|reason| self.fail(ToolError::cancelled(reason)))
    }

    #[cold]
    fn fail_with(self: Pin<&mut Self>, error: S::Error) -> ToolError {
        self.fail(ToolError::from_error(error))
    }

    /// Polls what comes before the inner future.
    #[cold]
    fn poll_start(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        let mut this = self.project();
        let entered = this.entered;
        let waiting = match this.state.as_mut().project() {
            StateProj::Waiting { waiting } => waiting,
            StateProj::Failed { error } => {
                let error = error.take().expect("the call ends with it");
                return Poll::Ready(Err(*error));
            }
            StateProj::Running { .. } => return Poll::Ready(Ok(())),
            StateProj::Done => return Poll::Pending,
        };
        let call = waiting.as_mut().expect("taken when the state changes");
        ready!(entered.poll_acquire(call, cx))?;
        let span = enter_span(&entered.watch);
        ready!(call.service.poll_ready(cx)).map_err(ToolError::from_error)?;
        let call = waiting.take().expect("it was there before");
        let (mut service, request) = (call.service, call.request);
        let acquire = call.acquire;
        // The clock is read once after the wait, for all layers inside.
        let reading = entered.part.as_ref().map(|part| {
            part.set_unready(false);
            part.carry_now()
        });
        let future = service.call(request);
        drop((reading, span));
        this.state.set(State::Running { future });
        if let (Some(part), Some(watch)) = (&entered.part, &mut entered.watch) {
            if let Some(mut acquire) = acquire {
                acquire.on_called(part, watch);
            }
            part.report_started();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S, R, W, A> LayerFuture<S, R, W, A>
where
    S: Service<R>,
    S::Response: ToolResponse,
    W: LayerWatch,
{
    /// Moves the watch into a response that [`poll_response`](Self::poll_response) has returned.
    #[inline(always)]
    pub(crate) fn watch_response(
        self: Pin<&mut Self>,
        response: S::Response,
    ) -> <S::Response as ToolResponse>::Watched<PartWatch<W>> {
        let entered = self.project().entered;
        let part = entered.part.take().expect("the call had not ended");
        let watch = entered.watch.take().expect("the call had not ended");
        response.watch(PartWatch::new(part, watch))
    }
}

impl<S, R, W, A> Future for LayerFuture<S, R, W, A>
where
    S: Service<R>,
    S::Response: ToolResponse,
    S::Error: Into<BoxError> + 'static,
    W: LayerWatch,
    A: Acquire<W>,
{
    type Output = Result<<S::Response as ToolResponse>::Watched<PartWatch<W>>, ToolError>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !matches!(self.state, State::Running { .. }) || self.entered.catches_panics() {
            return self.poll_slowly(cx);
        }
        // Each arm ends the call itself: without a `Result` of both, the room for an error is not
        // copied with each response (benchmark line `ready`).
        let mut guard = PanicGuard::new(self.as_mut());
        match guard.future().poll_running(cx) {
            Poll::Ready(Ok(response)) => {
                guard.future().drop_inside();
                guard.disarm();
                Poll::Ready(Ok(self.watch_response(response)))
            }
            Poll::Ready(Err(error)) => {
                guard.future().drop_inside();
                guard.disarm();
                Poll::Ready(Err(self.fail_with(error)))
            }
            Poll::Pending => {
                guard.disarm();
                self.poll_ended(cx).map(Err)
            }
        }
    }
}

impl<S: Service<R>, R, W: LayerWatch, A> fmt::Debug for LayerFuture<S, R, W, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayerFuture")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
