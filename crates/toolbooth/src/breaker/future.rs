use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use toolbooth_core::{End, Item, LimitId, Moment, Part, ResponseHead, ToolError};

use super::counting::Seen;
use super::rule::Verdict;
use super::shared::Breaker;
use crate::middleware::{LayerFuture, LayerWatch};

/// The future of [`CircuitBreaker`](super::CircuitBreaker).
pub type ResponseFuture<S, R> = LayerFuture<S, R, ResponseWatch>;

/// Records the result of the call in the breaker, after the last byte of the response.
#[derive(Debug)]
pub struct ResponseWatch {
    admission: Option<Admission>,
}

/// An admitted call.
#[derive(Debug)]
struct Admission {
    breaker: Arc<Breaker>,
    generation: LimitId,
    /// The time of the admission, if slow calls are counted.
    since: Option<Moment>,
    seen: Seen,
    is_probe: bool,
}

// === impl ResponseWatch ===

impl ResponseWatch {
    /// Makes the watch of a call that is not counted.
    pub(super) const fn uncounted() -> Self {
        Self { admission: None }
    }

    /// Makes the watch of a call that was admitted in `generation`.
    #[inline(always)]
    pub(super) fn admitted(
        part: &Part,
        breaker: Arc<Breaker>,
        generation: LimitId,
        is_probe: bool,
    ) -> Self {
        let since = breaker.is_timed().then(|| part.now());
        let admission = Some(Admission {
            breaker,
            generation,
            since,
            seen: Seen::Nothing,
            is_probe,
        });
        Self { admission }
    }
}

impl LayerWatch for ResponseWatch {
    fn on_response(&mut self, _: &Part, head: ResponseHead<'_>) {
        if let Some(admission) = &mut self.admission {
            admission.seen = admission.breaker.counting().of_head(head);
        }
    }

    fn on_item(&mut self, _: &Part, item: Item<'_>) -> ControlFlow<ToolError> {
        if let Some(admission) = &mut self.admission {
            admission.seen = admission.breaker.counting().of_item(admission.seen, item);
        }
        if let Some(probe) = self
            .admission
            .take_if(|admission| admission.is_decided_probe())
        {
            probe.record_success();
        }
        ControlFlow::Continue(())
    }

    #[inline]
    fn on_end(self, part: &Part, end: &End<'_>) {
        if let Some(admission) = self.admission {
            admission.record(part, end);
        }
    }
}

// === impl Admission ===

impl Admission {
    /// Returns whether the items so far decide a probe: its stream may be endless, and other calls
    /// are rejected meanwhile. A slow probe is a failure, which only its end shows.
    fn is_decided_probe(&self) -> bool {
        self.is_probe && self.seen == Seen::Working && self.since.is_none()
    }

    #[cold]
    fn record_success(self) {
        let (generation, success) = (self.generation, Verdict::Success);
        self.breaker
            .record(generation, success, Duration::ZERO, Moment::now);
    }

    fn record(self, part: &Part, end: &End<'_>) {
        let verdict = self.breaker.counting().of_end(end, self.seen, part);
        let took = self
            .since
            .map_or(Duration::ZERO, |since| Moment::now().since(since));
        self.breaker
            .record(self.generation, verdict, took, Moment::now);
    }
}
