use std::time::Duration;

use toolbooth_core::{Bound, CallContext, CancelReason, OverloadReason, ToolError};

use crate::middleware::keys::KeyRejection;

/// Why a call does not get, or does not keep, its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// The limit is 0.
    Closed,
    /// As many wait as may.
    Full(usize),
    /// It takes this much, and the limit never gives more than that.
    TooHeavy(u64, u64),
    /// It has a key that is too long, or one too many.
    Key(KeyRejection),
    /// Its turn would come after this long: too late for it.
    TooLate(Duration),
    /// It waited as long as a call may.
    WaitedTooLong(Duration),
    /// A limit around it struck.
    Cut(Bound),
    /// Its runtime is shutting down, so that nobody would wake it.
    ShuttingDown,
}

// === impl Rejection ===

impl Rejection {
    /// The error of it, where that is the same for all limits.
    pub(crate) fn error(self, context: &CallContext) -> ToolError {
        ToolError::overloaded(match self {
            Self::Closed => OverloadReason::Closed,
            Self::Full(capacity) => OverloadReason::queue_full(capacity),
            Self::TooHeavy(cost, limit) => OverloadReason::too_heavy(cost, limit),
            Self::TooLate(wait) => OverloadReason::too_late(wait),
            Self::WaitedTooLong(max_wait) => OverloadReason::waited_too_long(max_wait),
            Self::Key(refusal) => return refusal.error(),
            Self::Cut(bound) => return bound.error(context),
            Self::ShuttingDown => return ToolError::cancelled(CancelReason::Shutdown),
        })
    }
}

/// A limit refused a call that waited, or would have to.
pub(crate) fn trace_rejection(
    limit: &'static str,
    context: &CallContext,
    refusal: &Rejection,
    waited: Duration,
) {
    tracing::debug!(tool = context.tool(), call_id = %context.id(), limit, ?waited, ?refusal, "refused");
}
