use std::time::Duration;

use toolbooth_core::{
    CancelReason, ErrorKind, Outcome, OverloadReason, TimeoutScope, ToolError, ToolOutput,
};

use crate::calls::Finished;

/// Counts the calls that completed.
#[must_use]
pub fn count_ok(finished: &[Finished]) -> usize {
    finished.iter().filter(|finished| finished.is_ok()).count()
}

/// Counts the calls that failed with an error of this kind.
#[must_use]
pub fn count_kind(finished: &[Finished], kind: ErrorKind) -> usize {
    let kinds = finished.iter().filter_map(Finished::error_kind);
    kinds.filter(|found| *found == kind).count()
}

/// Returns when the last call that completed did so.
#[must_use]
pub fn last_ok(finished: &[Finished]) -> Option<Duration> {
    let completed = finished.iter().filter(|finished| finished.is_ok());
    completed.map(|finished| finished.at).max()
}

/// Returns the outcome that the caller of a call observes; `Err` is a caught panic.
pub fn outcome<P>(result: Result<Result<ToolOutput, ToolError>, P>) -> Outcome {
    match result {
        Ok(Ok(_)) => Outcome::Completed,
        Ok(Err(error)) => error.outcome(),
        Err(_) => Outcome::Panicked,
    }
}

/// Returns scope, limit and elapsed time of a timeout.
#[must_use]
pub const fn timeout_of(error: &ToolError) -> Option<(TimeoutScope, Duration, Duration)> {
    match error {
        ToolError::Timeout {
            scope,
            limit,
            elapsed,
            ..
        } => Some((*scope, *limit, *elapsed)),
        _ => None,
    }
}

/// Returns the reason of a cancellation.
#[must_use]
pub const fn cancel_reason(error: &ToolError) -> Option<CancelReason> {
    match error {
        ToolError::Cancelled { reason, .. } => Some(*reason),
        _ => None,
    }
}

/// Returns the reason of an overload.
#[must_use]
pub const fn overload_reason(error: &ToolError) -> Option<OverloadReason> {
    match error {
        ToolError::Overloaded { reason, .. } => Some(*reason),
        _ => None,
    }
}
