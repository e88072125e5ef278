use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use toolbooth_core::{
    Answer, BoxError, CallContext, End, Moment, Part, ToolError, ToolResponse, Watch,
};
use tower_service::Service;

use super::rule::Verdict;
use super::shared::Breaker;
use crate::shell::{Guarded, LayerWatch};

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
    ticket: Ticket,
    /// Where it matters how long the call takes.
    since: Option<Moment>,
}

/// The generation in which the call was let through, and in the lowest bits what its answer tells: one whole word, as it moves
/// with the call.
#[derive(Debug, Clone, Copy)]
struct Ticket(u64);

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
    pub(super) fn admitted(part: Part, breaker: &Arc<Breaker>, generation: u64) -> Self {
        let since = breaker.is_timed().then(|| part.now());
        let admission = Some(Admission {
            breaker: Arc::clone(breaker),
            ticket: Ticket::new(generation),
            since,
        });
        Self { part, admission }
    }
}

impl LayerWatch for ResponseWatch {
    fn part(&self) -> Option<&Part> {
        Some(&self.part)
    }
}

impl Watch for ResponseWatch {
    fn context(&self) -> Option<&CallContext> {
        Some(self.part.context())
    }

    fn on_answer(&mut self, answer: Answer<'_>) {
        if let Some(admission) = &mut self.admission {
            let answered = admission.breaker.counting().of_answer(answer);
            admission.ticket = admission.ticket.answered(answered);
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
        let (generation, answered) = self.ticket.parts();
        let verdict = counting.of_end(end, answered, part.is_held_back());
        let took = self
            .since
            .map_or(Duration::ZERO, |since| Moment::now().since(since));
        self.breaker.record(generation, verdict, took, Moment::now);
    }
}

// === impl Ticket ===

impl Ticket {
    const BITS: u32 = 2;

    const fn new(generation: u64) -> Self {
        Self(generation << Self::BITS)
    }

    const fn answered(self, verdict: Option<Verdict>) -> Self {
        let code = match verdict {
            None => 0,
            Some(Verdict::Success) => 1,
            Some(Verdict::Failure) => 2,
            Some(Verdict::None) => 3,
        };
        Self(self.0 >> Self::BITS << Self::BITS | code)
    }

    const fn parts(self) -> (u64, Option<Verdict>) {
        let verdict = match self.0 & 3 {
            0 => None,
            1 => Some(Verdict::Success),
            2 => Some(Verdict::Failure),
            _ => Some(Verdict::None),
        };
        (self.0 >> Self::BITS, verdict)
    }
}
