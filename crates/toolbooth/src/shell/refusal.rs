//! The refusal that layers have in common.

use toolbooth_core::{Part, ToolError};

/// A call that comes at or after its caller's deadline is not started.
pub(crate) fn past_deadline(part: &Part) -> Option<ToolError> {
    let context = part.context();
    let bound = context.past_deadline(|| part.now())?;
    let (limit, waited) = (bound.limit, context.elapsed());
    tracing::debug!(tool = context.tool(), call_id = %context.id(), ?limit, ?waited, "refused: the deadline has passed");
    Some(bound.error(context))
}
