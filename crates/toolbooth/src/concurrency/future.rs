use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use toolbooth_core::{BoxError, End, Part, ToolError, ToolResponse, Watch};
use tower_service::Service;

use super::permits::Permits;
use crate::middleware::{Admit, Guarded};
use crate::queue::{Line, Place, trace_rejection};

pin_project! {
    /// A call under a concurrency limit. It holds its permit, or its place in line.
    #[must_use = "dropping it ends the call"]
    pub struct ResponseFuture<S, R>
    where
        S: Service<R>,
    {
        #[pin]
        guarded: Guarded<S, R, ResponseWatch, Admission>,
    }
}

/// Holds the permit until the answer's last byte is delivered.
#[derive(Debug)]
pub struct ResponseWatch {
    part: Part,
    permit: Option<Permit>,
}

/// One of so many, or several; dropping it lets the next in line run.
#[derive(Debug)]
struct Permit {
    line: Arc<Line<Permits>>,
    cost: u64,
}

/// A place in line for a permit.
#[derive(Debug)]
pub(super) struct Admission(Place<Permits>);

// === impl ResponseFuture ===

impl<S: Service<R>, R> ResponseFuture<S, R> {
    pub(super) const fn new(guarded: Guarded<S, R, ResponseWatch, Admission>) -> Self {
        Self { guarded }
    }
}

impl<S, R> Future for ResponseFuture<S, R>
where
    S: Service<R>,
    S::Response: ToolResponse,
    S::Error: Into<BoxError> + 'static,
{
    type Output = Result<<S::Response as ToolResponse>::Watched<ResponseWatch>, ToolError>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().guarded.poll(cx)
    }
}

impl<S: Service<R>, R> fmt::Debug for ResponseFuture<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

// === impl ResponseWatch ===

impl ResponseWatch {
    pub(super) const fn waiting(part: Part) -> Self {
        Self { part, permit: None }
    }

    #[inline(always)]
    pub(super) fn admitted(part: Part, line: &Arc<Line<Permits>>, cost: u64) -> Self {
        let permit = Some(Permit::of(&part, line, cost));
        Self { part, permit }
    }

    fn admit(&mut self, line: &Arc<Line<Permits>>, cost: u64) {
        self.permit = Some(Permit::of(&self.part, line, cost));
    }
}

impl Watch for ResponseWatch {
    fn part(&self) -> Option<&Part> {
        Some(&self.part)
    }

    #[inline(always)]
    fn on_end(self, end: End<'_>) {
        self.part.end(end, |part, _| {
            if let Some(permit) = self.permit {
                part.release(&permit.line);
                part.keep_for_blocking(permit);
            }
        });
    }
}

// === impl Permit ===

impl Permit {
    #[inline(always)]
    fn of(part: &Part, line: &Arc<Line<Permits>>, cost: u64) -> Self {
        part.hold(line);
        let line = Arc::clone(line);
        Self { line, cost }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.line.refund(self.cost);
    }
}

// === impl Admission ===

impl Admission {
    pub(super) const fn new(place: Place<Permits>) -> Self {
        Self(place)
    }
}

impl Admit<ResponseWatch> for Admission {
    fn poll_admit(
        &mut self,
        watch: &mut ResponseWatch,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ToolError>> {
        let context = watch.part.context();
        let Err(refusal) = ready!(self.0.poll(&watch.part, cx)) else {
            watch.admit(self.0.line(), self.0.cost());
            return Poll::Ready(Ok(()));
        };
        trace_rejection("concurrency", context, &refusal, self.0.waited());
        Poll::Ready(Err(refusal.error(context)))
    }
}
