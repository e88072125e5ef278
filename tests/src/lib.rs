//! Shared fixtures of the tests in this package.
//!
//! | fixture | purpose |
//! |---|---|
//! | [`Layers`], [`Kind`] | the five layers in any order, with handles to read them |
//! | [`Retries`] | a retry policy of tower's that repeats every error |
//! | [`tool`], [`call`], [`calls`] | tools and calls without arguments |
//! | [`count_ok`], [`count`], [`last_ok`], [`timeout_of`], [`cancel_reason`] | what calls ended with |

mod layers;
mod retries;

use std::num::NonZeroU32;
use std::time::Duration;

use governor::Quota;
use serde_json::json;
use toolbooth::{
    BoxError, CallContext, CancelReason, Content, ErrorKind, Outcome, OverloadReason, Partial,
    TimeoutScope, ToolCall, ToolError, ToolOutput, tool_fn,
};
use toolbooth_test::{BoxTool, Finished, Probe, boxed};

pub use layers::{Kind, Layers};
pub use retries::Retries;

/// One minute: longer than any test runs.
pub const MINUTE: Duration = Duration::from_secs(60);

// === calls and tools ===

/// Returns a call without arguments to the tool of this name.
#[must_use]
pub fn call(tool: &str) -> ToolCall {
    ToolCall::new(tool, json!(null))
}

/// Returns `count` calls without arguments.
#[must_use]
pub fn calls(count: usize) -> Vec<ToolCall> {
    (0..count).map(|_| call("tool")).collect()
}

/// Makes a tool of a function of its context.
pub fn tool<F, Fut, E>(run: F) -> BoxTool
where
    F: Fn(CallContext) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<&'static str, E>> + Send + 'static,
    E: Into<BoxError> + 'static,
{
    boxed(tool_fn("tool", move |context, (): ()| run(context)))
}

/// Makes a tool that never responds; `inside` counts its calls.
#[must_use]
pub fn hanging(inside: &Probe) -> BoxTool {
    let inside = inside.clone();
    tool(move |_| {
        let inside = inside.enter();
        async move {
            let _inside = inside;
            std::future::pending::<Result<_, BoxError>>().await
        }
    })
}

/// Returns a quota of `rate` tokens a second with a burst.
///
/// # Panics
/// If one of the two is 0.
#[must_use]
pub fn quota(rate: u32, burst: u32) -> Quota {
    let [rate, burst] = [rate, burst].map(|n| NonZeroU32::new(n).expect("not 0"));
    Quota::per_second(rate).allow_burst(burst)
}

/// Returns a quota with a burst that does not refill during a test.
///
/// # Panics
/// If the burst is 0.
#[must_use]
pub fn hourly(burst: u32) -> Quota {
    let burst = NonZeroU32::new(burst).expect("not 0");
    Quota::per_hour(NonZeroU32::MIN).allow_burst(burst)
}

// === what calls ended with ===

/// Counts the calls that completed.
#[must_use]
pub fn count_ok(finished: &[Finished]) -> usize {
    finished.iter().filter(|finished| finished.is_ok()).count()
}

/// Counts the calls that failed with an error of this kind.
#[must_use]
pub fn count(finished: &[Finished], kind: ErrorKind) -> usize {
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

/// Returns the texts of a partial result; none if there is no partial result.
#[must_use]
pub fn texts(partial: Option<&Partial>) -> Vec<&str> {
    let contents = partial.map_or(&[][..], Partial::contents);
    contents.iter().filter_map(Content::as_text).collect()
}
