use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use toolbooth_core::{BoxError, End, Moment, Part, ResponseHead, ToolError, ToolResponse, Watch};
use tower_service::Service;

use super::rule::Verdict;
use super::shared::Breaker;
use crate::middleware::Guarded;

pin_project! {
    /// A call through a circuit breaker.
    #[must_use = "dropping it ends the call"]
    pub struct ResponseFuture<S, R>
    where
        S: Service<R>,
    {
        #[pin]
        guarded: Guarded<S, R, ResponseWatch>,
    }
}

/// Tells the breaker how the call ended, to the last byte of its answer.
#[derive(Debug)]
pub struct ResponseWatch {
    part: Part,
    admission: Option<Admission>,
}

/// A call that was let through.
#[derive(Debug)]
struct Admission {
    breaker: Arc<Breaker>,
    generation: u64,
    /// Where it matters how long the call takes.
    since: Option<Moment>,
    answered: Option<Verdict>,
}

// === impl ResponseFuture ===

impl<S: Service<R>, R> ResponseFuture<S, R> {
    pub(super) const fn new(guarded: Guarded<S, R, ResponseWatch>) -> Self {
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

    #[inline]
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
    /// For a call that is not counted.
    pub(super) const fn uncounted(part: Part) -> Self {
        Self {
            part,
            admission: None,
        }
    }

    /// For a call that was let through in that generation.
    #[inline(always)]
    pub(super) fn admitted(part: Part, breaker: Arc<Breaker>, generation: u64) -> Self {
        let since = breaker.is_timed().then(|| part.now());
        let admission = Some(Admission {
            breaker,
            generation,
            since,
            answered: None,
        });
        Self { part, admission }
    }
}

impl Watch for ResponseWatch {
    fn part(&self) -> Option<&Part> {
        Some(&self.part)
    }

    fn on_response(&mut self, answer: ResponseHead<'_>) {
        if let Some(admission) = &mut self.admission {
            admission.answered = admission.breaker.counting().of_answer(answer);
        }
    }

    #[inline]
    fn on_end(self, end: End<'_>) {
        let Self { part, admission } = self;
        part.end(end, |part, end| {
            if let Some(admission) = admission {
                admission.settle(part, end);
            }
        });
    }
}

// === impl Admission ===

impl Admission {
    fn settle(self, part: &Part, end: &End<'_>) {
        let counting = self.breaker.counting();
        let verdict = counting.of_end(end, self.answered, part.is_held_back());
        let took = self
            .since
            .map_or(Duration::ZERO, |since| Moment::now().since(since));
        self.breaker
            .record(self.generation, verdict, took, Moment::now);
    }
}
