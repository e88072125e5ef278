use std::time::Duration;

use toolbooth_core::{
    Bound, CallContext, CancelReason, LayerName, OverloadReason, TimeoutScope, ToolError,
};

use crate::middleware::KeyRejection;

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
    /// The store of the limit is away; the call may try again after this time.
    Away(Duration),
    /// The runtime is shutting down, so that no timer would wake the call.
    ShuttingDown,
}

// === impl Rejection ===

impl Rejection {
    /// Returns the error of a rejection by `layer` that is the same for all limits.
    pub(crate) fn error(self, context: &CallContext, layer: &LayerName) -> ToolError {
        let error = ToolError::overloaded(match self {
            Self::Closed => OverloadReason::Closed,
            Self::Full(capacity) => OverloadReason::queue_full(capacity),
            Self::TooHeavy(cost, limit) => OverloadReason::too_heavy(cost, limit),
            Self::TooLate(wait) => OverloadReason::too_late(wait),
            Self::Away(retry_after) => OverloadReason::store_away(retry_after),
            Self::WaitedTooLong(max_wait) => OverloadReason::waited_too_long(max_wait),
            Self::Key(rejection) => return rejection.error().with_layer(layer),
            Self::Expired(bound) => return expired(bound, context, layer).with_queue(layer),
            Self::ShuttingDown => {
                return ToolError::cancelled(CancelReason::Shutdown).with_layer(layer);
            }
        });
        error.with_layer(layer)
    }
}

/// Returns the error of a call that waited until its limit. The limit is that of a timeout layer
/// outside, which names itself, or the deadline that `layer` enforces.
fn expired(bound: Bound, context: &CallContext, layer: &LayerName) -> ToolError {
    let error = bound.error(context);
    match bound.scope() {
        TimeoutScope::Deadline => error.with_layer(layer),
        _ => error,
    }
}

/// Logs that a limit rejects a call.
pub(crate) fn trace_rejection(
    layer: &LayerName,
    context: &CallContext,
    rejection: &Rejection,
    waited: Duration,
) {
    tracing::debug!(
        tool = context.tool(),
        call_id = %context.id(),
        %layer,
        ?waited,
        ?rejection,
        "rejected"
    );
}
