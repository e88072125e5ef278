use std::sync::Arc;
use std::task::{Context, Poll, ready};

use toolbooth_core::{End, Part, ToolError};

use super::permits::Permits;
use crate::middleware::{Acquire, LayerFuture, LayerWatch};
use crate::queue::{Line, Place, trace_rejection};

/// The future of [`ConcurrencyLimit`](super::ConcurrencyLimit).
pub type ResponseFuture<S, R> = LayerFuture<S, R, ResponseWatch, AcquirePermit>;

/// Holds the permit until the answer's last byte is delivered.
#[derive(Debug)]
pub struct ResponseWatch {
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
pub struct AcquirePermit(Place<Permits>);

// === impl ResponseWatch ===

impl ResponseWatch {
    pub(super) const fn waiting() -> Self {
        Self { permit: None }
    }

    #[inline(always)]
    pub(super) fn admitted(part: &Part, line: &Arc<Line<Permits>>, cost: u64) -> Self {
        let permit = Some(Permit::of(part, line, cost));
        Self { permit }
    }
}

impl LayerWatch for ResponseWatch {
    #[inline(always)]
    fn on_end(self, part: &Part, _: &End<'_>) {
        if let Some(permit) = self.permit {
            part.release(&permit.line);
            part.keep_for_blocking(permit);
        }
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

// === impl AcquirePermit ===

impl AcquirePermit {
    pub(super) const fn new(place: Place<Permits>) -> Self {
        Self(place)
    }
}

impl Acquire<ResponseWatch> for AcquirePermit {
    fn poll_acquire(
        &mut self,
        part: &Part,
        watch: &mut ResponseWatch,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ToolError>> {
        let Err(refusal) = ready!(self.0.poll(part, cx)) else {
            *watch = ResponseWatch::admitted(part, self.0.line(), self.0.cost());
            return Poll::Ready(Ok(()));
        };
        trace_rejection("concurrency", part.context(), &refusal, self.0.waited());
        Poll::Ready(Err(refusal.error(part.context())))
    }
}
