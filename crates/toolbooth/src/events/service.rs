use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use toolbooth_core::{
    BoxError, EventKind, EventSink, Part, ToolError, ToolRequest, ToolResponse, TraceContext,
};
use tower_service::Service;

use super::future::{ResponseFuture, ResponseWatch};
use super::layer::Sinks;
use crate::middleware::{Decision, LayerFuture, PartWatch, inner_accessors};

/// Delivers the events of calls to the inner service. Made by
/// [`EventsLayer`](super::EventsLayer).
#[derive(Clone)]
pub struct Events<S> {
    inner: S,
    sinks: Sinks,
}

// === impl Events ===

inner_accessors!(Events);

impl<S> Events<S> {
    pub(super) const fn new(inner: S, sinks: Sinks) -> Self {
        Self { inner, sinks }
    }
}

impl<S, R> Service<R> for Events<S>
where
    R: ToolRequest,
    S: Service<R> + Clone,
    S::Response: ToolResponse,
    S::Error: Into<BoxError> + 'static,
{
    type Response = <S::Response as ToolResponse>::Watched<PartWatch<ResponseWatch>>;
    type Error = ToolError;
    type Future = ResponseFuture<S, R>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        Poll::Ready(Ok(()))
    }

    #[inline(always)]
    fn call(&mut self, mut request: R) -> Self::Future {
        let Self { inner, sinks } = self;
        let Some(sinks) = sinks else {
            // A request of HTTP gets its context here, as in every layer: a retry inside clones it.
            let _ = request.context();
            return match inner.poll_ready(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Ok(())) => ResponseFuture::passed(inner.call(request)),
                ready => unready(inner, request, ready),
            };
        };
        let future = LayerFuture::with_request(inner, request, |part, request| {
            Decision::Start(invoke(sinks, part, request))
        });
        future.report_started();
        ResponseFuture::layered(future)
    }
}

/// Keeps a service that is not ready until it is.
///
/// Inlined although it is rare: a function that returns the future writes it to memory, and then
/// each call without a sink copies the room for it as well (benchmark line `events`).
#[inline(always)]
fn unready<S, R>(
    inner: &mut S,
    request: R,
    ready: Poll<Result<(), S::Error>>,
) -> ResponseFuture<S, R>
where
    R: ToolRequest,
    S: Service<R> + Clone,
    S::Error: Into<BoxError> + 'static,
{
    let watch = ResponseWatch::new(Arc::default());
    if ready.is_ready() {
        // It has failed.
        *inner = inner.clone();
    }
    ResponseFuture::layered(LayerFuture::new(inner, request, |_| match ready {
        Poll::Ready(Err(error)) => Decision::Reject(watch, ToolError::from_error(error)),
        _ => Decision::Start(watch),
    }))
}

/// Delivers the event that invokes the call.
#[cold]
fn invoke<R: ToolRequest>(
    sinks: &Arc<[Arc<dyn EventSink>]>,
    part: &Part,
    request: &R,
) -> ResponseWatch {
    if part.context().extension::<TraceContext>().is_none() {
        if let Some(trace) = request.trace_context() {
            part.provide(&Arc::new(trace));
        }
    }
    let sinks = sinks_of_call(sinks, part);
    for sink in &*sinks {
        part.observe(sink);
        let mut invoked = part.invoked();
        if let EventKind::Invoked { arguments, .. } = &mut invoked {
            if sink.wants_contents() {
                *arguments = request.arguments();
            }
        }
        part.report_to(&**sink, invoked);
    }
    ResponseWatch::new(sinks)
}

/// Replaces each sink that has one for each call.
fn sinks_of_call(sinks: &Arc<[Arc<dyn EventSink>]>, part: &Part) -> Arc<[Arc<dyn EventSink>]> {
    let mut own = None;
    for (at, sink) in sinks.iter().enumerate() {
        let for_call = AssertUnwindSafe(|| sink.for_call(part));
        match catch_unwind(for_call) {
            Ok(Some(of_call)) => own.get_or_insert_with(|| sinks.to_vec())[at] = of_call,
            Ok(None) => {}
            Err(_) => tracing::error!("an event sink panicked"),
        }
    }
    own.map_or_else(|| Arc::clone(sinks), Into::into)
}

impl<S: fmt::Debug> fmt::Debug for Events<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("inner", &self.inner)
            .field("is_on", &self.sinks.is_some())
            .finish()
    }
}
