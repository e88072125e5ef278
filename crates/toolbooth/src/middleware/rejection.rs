//! The refusal that layers have in common.

use toolbooth_core::{Bound, Part, ToolError};

/// A call that was cancelled before, or that comes at or after its caller's deadline, is not started.
#[inline(always)]
pub(crate) fn not_to_start(part: &Part) -> Option<ToolError> {
    if let Some(reason) = part.cancelled_before_start() {
        return Some(ToolError::cancelled(reason));
    }
    let bound = part.passed_deadline()?;
    Some(refused(part, bound))
}

#[cold]
fn refused(part: &Part, bound: Bound) -> ToolError {
    let context = part.context();
    let (limit, waited) = (bound.limit(), context.elapsed());
    tracing::debug!(tool = context.tool(), call_id = %context.id(), ?limit, ?waited, "refused: the deadline has passed");
    bound.error(context)
}
