//! The refusal that layers have in common.

use toolbooth_core::{Bound, Part, ToolError};

/// A call that comes at or after its caller's deadline is not started.
#[inline]
pub(crate) fn past_deadline(part: &Part) -> Option<ToolError> {
    let bound = part.context().past_deadline(|| part.now())?;
    Some(refused(part, bound))
}

#[cold]
fn refused(part: &Part, bound: Bound) -> ToolError {
    let context = part.context();
    let (limit, waited) = (bound.limit, context.elapsed());
    tracing::debug!(tool = context.tool(), call_id = %context.id(), ?limit, ?waited, "refused: the deadline has passed");
    bound.error(context)
}
