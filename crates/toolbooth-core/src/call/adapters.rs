//! What adapters and retry policies record in the context of a call.

use std::time::Duration;

use super::{CallContext, Name};
use crate::error::{LayerName, ToolError, Waited};
use crate::event::EventKind;

// === impl CallContext ===

impl CallContext {
    /// Records that this attempt ends before its tool is called, for adapters that turn something
    /// into a tool.
    ///
    /// An adapter that rejects the name or the arguments of a call calls this before it returns
    /// its error, as [`ToolError::started`](crate::ToolError::started) is false then.
    pub fn mark_not_started(&self) {
        self.attempt_state().set_held_back(true);
    }

    /// Records whether the call waits for a service that is not ready, so that the tool has not
    /// started. For adapters that poll the readiness of a service inside of a call.
    pub fn set_unready(&self, is_unready: bool) {
        self.attempt_state().set_unready(is_unready);
    }

    /// Reports that the tool has started, unless a layer inside holds the call back. For adapters,
    /// after a wait for a service that was not ready.
    pub fn report_started(&self) {
        if self.attempt_state().is_observed() {
            self.attempt_state().report_started();
        }
    }

    /// Records that the call waits for another attempt when it ends, for the error of a timeout
    /// outside. For authors of retry policies, whose wait calls this if it is dropped.
    pub fn set_waits_for_attempt(&self, attempt: u32, policy: &LayerName) {
        let waited = Waited::Attempt(attempt, policy.clone());
        self.attempt_state().set_waited(waited);
    }

    /// Reports that an attempt failed, and that this one follows after a wait. For authors of
    /// retry policies.
    ///
    /// `failed` returns the error of the attempt that failed, or the `error.type` of its response.
    /// Without an events layer outside, it is not called.
    pub fn report_retry(
        &self,
        after: Duration,
        failed: impl FnOnce() -> Result<Option<Name>, ToolError>,
    ) {
        let attempt = self.attempt_state();
        attempt.report_event(u32::MAX, || {
            let failed = failed();
            let error = failed.as_ref().err();
            EventKind::Retry {
                attempt: attempt.number(),
                after,
                error: error.map(ToolError::kind),
                layer: error.and_then(ToolError::layer_name).cloned(),
                error_type: match &failed {
                    Ok(error_type) => error_type.clone(),
                    Err(error) => Some(Name::from_static(error.kind().as_str())),
                },
            }
        });
    }
}
