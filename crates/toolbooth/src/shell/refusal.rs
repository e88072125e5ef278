//! What layers say when they refuse, and the refusal they have in common.

use std::time::Duration;

use tokio::time::Instant;
use toolbooth_core::{CallContext, Part, TimeoutScope, ToolError};

use crate::line::Refusal;

/// A call that comes at or after its caller's deadline is not started.
pub(crate) fn past_deadline(part: &Part, now: Instant) -> Option<ToolError> {
    let context = part.context();
    let bound = context
        .bound()
        .filter(|bound| bound.at <= now && bound.scope == TimeoutScope::Deadline)?;
    tracing::debug!(tool = context.tool(), call_id = %context.id(), "refused: the deadline has passed");
    Some(bound.error(context))
}

/// A limit refused a call that waited, or would have to.
#[cfg(any(feature = "concurrency", feature = "rate"))]
pub(crate) fn trace_refusal(
    limit: &'static str,
    context: &CallContext,
    refusal: &Refusal,
    waited: Duration,
) {
    tracing::debug!(tool = context.tool(), call_id = %context.id(), limit, ?waited, ?refusal, "refused");
}
