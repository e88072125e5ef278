use std::time::Duration;

use toolbooth_core::CallContext;

use super::Refusal;

/// A limit refused a call that waited, or would have to.
pub(crate) fn trace_refusal(
    limit: &'static str,
    context: &CallContext,
    refusal: &Refusal,
    waited: Duration,
) {
    tracing::debug!(tool = context.tool(), call_id = %context.id(), limit, ?waited, ?refusal, "refused");
}
