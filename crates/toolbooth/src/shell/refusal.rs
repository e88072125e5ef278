//! The refusal that layers have in common.

use toolbooth_core::{Part, TimeoutScope, ToolError};

/// A call that comes at or after its caller's deadline is not started.
pub(crate) fn past_deadline(part: &Part) -> Option<ToolError> {
    let context = part.context();
    let deadline = context
        .bound()
        .filter(|bound| bound.scope == TimeoutScope::Deadline);
    let bound = deadline.filter(|bound| bound.at <= part.now())?;
    tracing::debug!(tool = context.tool(), call_id = %context.id(), "refused: the deadline has passed");
    Some(bound.error(context))
}
