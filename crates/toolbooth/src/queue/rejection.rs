use std::time::Duration;

use toolbooth_core::{Bound, CallContext, CancelReason, OverloadReason, ToolError};

use crate::middleware::keys::KeyRejection;

/// Why a limit rejects a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// The limit is 0.
    Closed,
    /// The queue is full; with its capacity.
    Full(usize),
    /// The call's cost is above the most that the limit can give.
    TooHeavy(u64, u64),
    /// The key is too long, or there are too many keys.
    Key(KeyRejection),
    /// The call would start after this time, which is too late for it.
    TooLate(Duration),
    /// The call waited as long as the limit allows.
    WaitedTooLong(Duration),
    /// A limit of an outer layer or of the caller has expired.
    Expired(Bound),
    /// The runtime is shutting down, so that no timer would wake the call.
    ShuttingDown,
}

// === impl Rejection ===

impl Rejection {
    /// Returns the error of a rejection that is the same for all limits.
    pub(crate) fn error(self, context: &CallContext) -> ToolError {
        ToolError::overloaded(match self {
            Self::Closed => OverloadReason::Closed,
            Self::Full(capacity) => OverloadReason::queue_full(capacity),
            Self::TooHeavy(cost, limit) => OverloadReason::too_heavy(cost, limit),
            Self::TooLate(wait) => OverloadReason::too_late(wait),
            Self::WaitedTooLong(max_wait) => OverloadReason::waited_too_long(max_wait),
            Self::Key(rejection) => return rejection.error(),
            Self::Expired(bound) => return bound.error(context),
            Self::ShuttingDown => return ToolError::cancelled(CancelReason::Shutdown),
        })
    }
}

/// Logs that a limit rejects a call.
pub(crate) fn trace_rejection(
    limit: &'static str,
    context: &CallContext,
    rejection: &Rejection,
    waited: Duration,
) {
    tracing::debug!(
        tool = context.tool(),
        call_id = %context.id(),
        limit,
        ?waited,
        ?rejection,
        "rejected"
    );
}
