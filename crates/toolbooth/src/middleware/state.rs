//! The state of a call in a layer: running, waiting to start, or failed before the start.

use std::fmt;
use std::mem;
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;
use toolbooth_core::{BoxError, EventKind, LayerName, Moment, Part, ToolError};
use tower_service::Service;

pin_project! {
    // A tag of a word of its own, not in a spare byte of the inner future: so nested futures are
    // moved in whole words, and no load waits for several smaller stores (`three`: 20 ns).
    #[repr(u64)]
    #[project = StateProj]
    pub(super) enum State<S, R, A>
    where
        S: Service<R>,
    {
        Running { #[pin] future: S::Future },
        // Boxed: the futures of all layers are nested, and most calls never wait.
        Waiting { waiting: Option<Box<Waiting<S, R, A>>> },
        Failed { error: Option<Box<ToolError>> },
        Done,
    }
}

/// A call that has not started: it waits for `acquire`, if any, and then for `service`.
pub(super) struct Waiting<S, R, A> {
    pub(super) acquire: Option<A>,
    pub(super) acquired: bool,
    /// The layer whose queue it waits in, until it has acquired.
    pub(super) queue: Option<LayerName>,
    /// When the wait was reported, if something observes the call.
    queued_at: Option<Moment>,
    pub(super) service: S,
    pub(super) request: R,
}

// === impl State ===

impl<S, R, A> State<S, R, A>
where
    S: Service<R> + Clone,
    S::Error: Into<BoxError> + 'static,
{
    /// Calls `inner`, or keeps it if it is not ready.
    #[inline(always)]
    pub(super) fn start(part: &Part, inner: &mut S, request: R) -> Self {
        let ready = inner.poll_ready(&mut Context::from_waker(Waker::noop()));
        match ready {
            Poll::Ready(Ok(())) => Self::Running {
                future: inner.call(request),
            },
            _ => Self::not_ready(part, ready, inner, request),
        }
    }

    /// As [`start`](Self::start), and reports that the tool has started. Not inlined: each layer
    /// would contain all layers inside twice.
    #[cold]
    #[inline(never)]
    pub(super) fn start_and_report(part: &Part, inner: &mut S, request: R) -> Self {
        let state = Self::start(part, inner, request);
        state.report_started(part);
        state
    }

    /// Replaces the instance that is not ready, or failed, by a fresh clone.
    #[cold]
    fn not_ready(
        part: &Part,
        ready: Poll<Result<(), S::Error>>,
        inner: &mut S,
        request: R,
    ) -> Self {
        part.set_unready(true);
        let fresh = inner.clone();
        let service = mem::replace(inner, fresh);
        match ready {
            Poll::Ready(Err(error)) => Self::failed(ToolError::from_error(error)),
            _ => Self::waiting(None, None, service, request),
        }
    }
}

impl<S: Service<R>, R, A> State<S, R, A> {
    pub(super) fn waiting(
        acquire: Option<A>,
        queue: Option<LayerName>,
        service: S,
        request: R,
    ) -> Self {
        Self::Waiting {
            waiting: Some(Box::new(Waiting {
                acquire,
                acquired: false,
                queue,
                queued_at: None,
                service,
                request,
            })),
        }
    }

    /// Reports that the tool has started, unless the call waits or has failed.
    pub(super) fn report_started(&self, part: &Part) {
        if matches!(self, Self::Running { .. }) {
            part.report_started();
        }
    }

    /// Returns the layer whose queue the call waits in.
    pub(super) fn queue(&self) -> Option<&LayerName> {
        match self {
            Self::Waiting { waiting } => waiting.as_ref()?.queue.as_ref(),
            _ => None,
        }
    }

    #[cold]
    pub(super) fn failed(error: ToolError) -> Self {
        Self::Failed {
            error: Some(Box::new(error)),
        }
    }
}

impl<S: Service<R>, R, A> fmt::Debug for State<S, R, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running { .. } => "Running",
            Self::Waiting { .. } => "Waiting",
            Self::Failed { .. } => "Failed",
            Self::Done => "Done",
        })
    }
}

// === impl Waiting ===

impl<S, R, A> Waiting<S, R, A> {
    /// Reports once that the call waits in the queue.
    pub(super) fn report_queued(&mut self, part: &Part) {
        if let (Some(queue), None) = (&self.queue, self.queued_at) {
            part.report(|| {
                self.queued_at = Some(Moment::now());
                EventKind::Queued {
                    layer: queue.clone(),
                }
            });
        }
    }

    /// Reports the end of a wait that was reported. The call is not in the queue any more.
    pub(super) fn report_admitted(&mut self, part: &Part) {
        if let (Some(layer), Some(queued_at)) = (self.queue.take(), self.queued_at) {
            part.report(|| EventKind::Admitted {
                layer,
                waited: Moment::now().since(queued_at),
            });
        }
    }
}
