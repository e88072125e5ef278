use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use toolbooth_core::{Event, EventKind, EventSink, nests_too_deep};
use tracing::Span;

use super::waits::Waits;
use super::{bounded, names, report};

/// Receives the events of one pass of a call, and records them in its span.
pub(super) struct CallSpan {
    state: Mutex<State>,
    contents: bool,
}

struct State {
    /// `None` after the terminal event: handles of the call's context may outlive it, and must not
    /// keep the span open.
    span: Option<Span>,
    began: Instant,
    waits: Waits,
}

// === impl CallSpan ===

impl CallSpan {
    pub(super) fn new(span: Span, contents: bool) -> Self {
        Self {
            state: Mutex::new(State {
                span: Some(span),
                began: Instant::now(),
                waits: Waits::default(),
            }),
            contents,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the end. The span closes when its last handle is dropped.
    fn end(&self, event: &Event) {
        let mut state = self.lock();
        let Some(span) = state.span.take() else {
            return;
        };
        state.waits.end(event.at);
        let waits = std::mem::take(&mut state.waits);
        let duration = event.at.saturating_duration_since(state.began);
        drop(state);
        let outcome = event.kind.outcome().map(|outcome| outcome.as_str());
        span.record(names::OUTCOME, outcome);
        span.record(names::DURATION, duration.as_secs_f64());
        span.record(names::WAIT_TOTAL, waits.total.as_secs_f64());
        span.record(names::WAIT_CONCURRENCY, waits.concurrency.as_secs_f64());
        span.record(names::WAIT_RATE, waits.rate.as_secs_f64());
        if let Some(error_type) = event.kind.error_type() {
            span.record(names::ERROR_TYPE, &*bounded::name(error_type));
            span.record(names::OTEL_STATUS, "ERROR");
        }
        if let (Some(error), true) = (event.kind.error(), self.contents) {
            span.record(names::OTEL_DESCRIPTION, bounded::error(error));
        }
        if let EventKind::Completed {
            contents: Some(contents),
            ..
        } = &event.kind
        {
            span.record(names::RESULT, bounded::contents(contents));
        }
        report::report(event, Some(&span));
    }
}

impl EventSink for CallSpan {
    fn on_event(&self, event: &Event) {
        if event.kind.is_terminal() {
            return self.end(event);
        }
        let mut state = self.lock();
        match &event.kind {
            EventKind::Invoked { .. } => state.began = event.at,
            EventKind::Queued { layer, .. } => state.waits.enqueue(layer, event.at),
            EventKind::Admitted { layer, waited, .. } => state.waits.admit(layer, *waited),
            _ => {}
        }
        let span = state.span.clone();
        drop(state);
        match (&event.kind, &span) {
            (EventKind::Invoked { arguments, .. }, Some(span)) => {
                if let Some(arguments) = arguments {
                    let arguments = match nests_too_deep(arguments) {
                        true => bounded::value(&"[nests too deep]"),
                        false => bounded::value(arguments),
                    };
                    span.record(names::ARGUMENTS, arguments);
                }
            }
            (_, span) => report::report(event, span.as_ref()),
        }
    }

    fn wants_contents(&self) -> bool {
        self.contents
    }

    fn span(&self) -> Option<Span> {
        self.lock().span.clone()
    }
}
