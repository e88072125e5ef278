use std::sync::Arc;
use std::time::Duration;

use toolbooth_core::{End, Moment, Part, ResponseHead};

use super::rule::Verdict;
use super::shared::Breaker;
use crate::middleware::{LayerFuture, LayerWatch};

/// The future of [`CircuitBreaker`](super::CircuitBreaker).
pub type ResponseFuture<S, R> = LayerFuture<S, R, ResponseWatch>;

/// Tells the breaker how the call ended, to the last byte of its answer.
#[derive(Debug)]
pub struct ResponseWatch {
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

// === impl ResponseWatch ===

impl ResponseWatch {
    /// For a call that is not counted.
    pub(super) const fn uncounted() -> Self {
        Self { admission: None }
    }

    /// For a call that was let through in that generation.
    #[inline(always)]
    pub(super) fn admitted(part: &Part, breaker: Arc<Breaker>, generation: u64) -> Self {
        let since = breaker.is_timed().then(|| part.now());
        let admission = Some(Admission {
            breaker,
            generation,
            since,
            answered: None,
        });
        Self { admission }
    }
}

impl LayerWatch for ResponseWatch {
    fn on_response(&mut self, _: &Part, head: ResponseHead<'_>) {
        if let Some(admission) = &mut self.admission {
            admission.answered = admission.breaker.counting().of_answer(head);
        }
    }

    #[inline]
    fn on_end(self, part: &Part, end: &End<'_>) {
        if let Some(admission) = self.admission {
            admission.settle(part, end);
        }
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
