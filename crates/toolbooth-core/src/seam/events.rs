//! What layers report to the events layers around a call.

use std::sync::Arc;

use super::{End, Item, Part};
use crate::call::Reporter;
use crate::error::ToolError;
use crate::event::{EventKind, EventSink};
use crate::outcome::CancelReason;

// === impl Part ===

impl Part {
    /// Delivers the events of everything inside to `sink`, for authors of events layers.
    pub fn observe(&self, sink: &Arc<dyn EventSink>) {
        self.context.attempt_state().observe(sink, self.depth);
    }

    /// Reports an event of this layer to the events layers outside. Without one, `kind` is not
    /// called.
    #[inline(always)]
    pub fn report(&self, kind: impl FnOnce() -> EventKind) {
        self.context.attempt_state().report_event(self.depth, kind);
    }

    /// Reports an event of an events layer to its own sink.
    pub fn report_to(&self, sink: &dyn EventSink, kind: EventKind) {
        self.context.attempt_state().report_to(sink, kind);
    }

    /// Reports that the tool has started, unless a layer inside holds the call back. Call it after
    /// the inner service was called, in an events layer and after a wait.
    pub fn report_started(&self) {
        self.context.report_started();
    }

    /// Returns whether the layer [reports the start](Self::report_started) of the tool although it
    /// is no events layer. True for the outermost layer of a later attempt that is observed: the
    /// events layer may be outside of the retry.
    #[inline(always)]
    #[must_use]
    pub fn reports_start(&self) -> bool {
        self.context.attempt_state().reports_start(self.depth)
    }

    /// Records whether the call waits for an inner service that is not ready, so that the tool has
    /// not started.
    pub fn set_unready(&self, is_unready: bool) {
        self.context.set_unready(is_unready);
    }

    /// Returns what reports events of this layer after the end of the call. `None` without an
    /// events layer outside.
    #[must_use]
    #[inline]
    pub fn reporter(&self) -> Option<Reporter> {
        self.context.attempt_state().reporter(self.depth)
    }

    /// Returns whether the span of this pass belongs inside of the current one: another call made
    /// the call, or an events layer outside has a span for it.
    #[must_use]
    pub fn is_nested(&self) -> bool {
        self.context.attempt_state().is_nested(self.depth)
    }

    /// Returns the event that invokes the call at this layer.
    #[must_use]
    pub fn invoked(&self) -> EventKind {
        let parent = self.context.attempt_state().parent_identity();
        let (parent, parent_serial) = parent.unzip();
        EventKind::Invoked {
            tenant: self.context.tenant().map(Into::into),
            parent,
            parent_serial,
            deadline: self.context.deadline(),
            arguments: None,
        }
    }

    /// Reports an item of a streaming response to the sink of this events layer.
    pub fn report_item(&self, item: Item<'_>) {
        self.context
            .attempt_state()
            .report_streamed(self.depth, item);
    }

    /// Returns the terminal event of a call that ends so at this layer.
    #[must_use]
    pub fn ended(&self, end: &End<'_>) -> EventKind {
        match end {
            End::Complete => EventKind::Completed {
                is_error: false,
                contents: None,
            },
            End::Failed(error) => match **error {
                ToolError::Cancelled { reason, .. } => self.cancelled(reason, Some(error)),
                _ => EventKind::of_error(error),
            },
            End::Panicked => EventKind::Panicked { error: None },
            End::Dropped(reason) => self.cancelled(*reason, None),
        }
    }

    fn cancelled(&self, reason: CancelReason, error: Option<&ToolError>) -> EventKind {
        let started = !self.is_held_back();
        let error = error.cloned();
        let attempt = self.context.attempt_state();
        let expired = match reason {
            CancelReason::Timeout => attempt.expired_outside(self.depth),
            _ => None,
        };
        match expired {
            Some(expired) => EventKind::TimedOut {
                layer: Some(expired.layer),
                limit: expired.bound.limit(),
                overshoot: Some(attempt.now().since(expired.bound.at())),
                started,
                error,
            },
            None => EventKind::Cancelled {
                reason,
                started,
                error,
            },
        }
    }
}
