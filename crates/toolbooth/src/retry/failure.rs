//! What a failed attempt means for a retry. Pure.

use std::any::Any;
use std::mem;
use std::time::Duration;

use toolbooth_core::{BoxError, ErrorKind, Name, OverloadReason, ResponseHead, ToolError};

#[cfg(feature = "http")]
use crate::middleware::{retry_after, status::failure_of_head};

/// A failed attempt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failure {
    class: FailureClass,
    /// Whether the tool had been called.
    pub(super) started: bool,
    /// The time before which a retry is known to fail.
    pub(super) retry_after: Option<Duration>,
    /// Whether a circuit breaker rejected the attempt.
    pub(super) circuit_open: bool,
}

/// The class of a failure, which decides whether it is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FailureClass {
    /// The tool had not started.
    NotStarted,
    /// The tool had started, and its error is retryable: a rejection, or marked by the tool.
    Retryable,
    /// The tool had started, and may have had effects.
    Started,
    /// A retry cannot help.
    Permanent,
}

// === impl Failure ===

impl Failure {
    /// A failure of the tool, which is not known to be safe to repeat.
    const STARTED: Self = Self {
        class: FailureClass::Started,
        started: true,
        retry_after: None,
        circuit_open: false,
    };

    /// Returns what the error of a call of `tool` means.
    pub(super) fn of_error(error: &(dyn Any + 'static), tool: &str) -> Self {
        if let Some(ours) = ours(error) {
            return Self::of_ours(ours, tool);
        }
        let boxed = error.downcast_ref::<BoxError>();
        let shed = boxed.is_some_and(|boxed| boxed.is::<tower::load_shed::error::Overloaded>());
        let class = match shed {
            true => FailureClass::Retryable,
            false => FailureClass::Started,
        };
        Self {
            class,
            ..Self::STARTED
        }
    }

    /// Returns what a response means that the predicate of the policy selected.
    pub(super) fn of_response(head: ResponseHead<'_>) -> Self {
        match head {
            #[cfg(feature = "http")]
            ResponseHead::Http(head) => Self {
                retry_after: retry_after(head),
                ..Self::STARTED
            },
            _ => Self::STARTED,
        }
    }

    fn of_ours(error: &ToolError, tool: &str) -> Self {
        let started = match error.tool() {
            // No layer received it, so the tool or another crate's layer made it.
            None => true,
            // The error of another call, which the tool made and whose error it returned.
            Some(called) if called != tool => return Self::STARTED,
            Some(_) => error.started(),
        };
        Self {
            class: FailureClass::of(error, started),
            started,
            retry_after: error.retry_after(),
            circuit_open: error.kind() == ErrorKind::CircuitOpen,
        }
    }

    /// Returns whether a retry is allowed, given whether the call is idempotent, if known.
    pub(super) fn allows_retry(self, idempotent: Option<bool>) -> bool {
        match self.class {
            FailureClass::NotStarted => true,
            FailureClass::Retryable => idempotent != Some(false),
            FailureClass::Started => idempotent == Some(true),
            FailureClass::Permanent => false,
        }
    }
}

// === impl FailureClass ===

impl FailureClass {
    fn of(error: &ToolError, started: bool) -> Self {
        if let ToolError::Overloaded {
            reason: OverloadReason::ShuttingDown { .. },
            ..
        } = error
        {
            // A closed layer stays closed. A retry helps in another process.
            return Self::Permanent;
        }
        let is_retryable = error.is_retryable();
        match error.kind() {
            ErrorKind::Timeout | ErrorKind::Panicked if started => Self::Started,
            ErrorKind::Tool if started && !is_retryable => Self::Started,
            _ if !is_retryable => Self::Permanent,
            _ if started => Self::Retryable,
            _ => Self::NotStarted,
        }
    }
}

/// Returns the `ToolError`, if it is one, boxed or not.
fn ours<'a>(error: &'a (dyn Any + 'static)) -> Option<&'a ToolError> {
    let boxed = error.downcast_ref::<BoxError>();
    let ours = boxed.and_then(|boxed| boxed.downcast_ref());
    ours.or_else(|| error.downcast_ref())
}

/// Returns an error for the report of a retry. One of another type than those of the layers is the
/// tool's, and its text is not reported.
pub(super) fn report(error: &(dyn Any + 'static)) -> ToolError {
    let tool = || ToolError::failed("the tool failed");
    ours(error).cloned().unwrap_or_else(tool)
}

/// Returns the `error.type` of a response that failed, if it reports its failure.
pub(super) fn response_type(head: ResponseHead<'_>) -> Option<Name> {
    match head {
        ResponseHead::Tool(output) if output.is_error() => {
            Some(Name::from_static(ErrorKind::Tool.as_str()))
        }
        #[cfg(feature = "http")]
        ResponseHead::Http(head) => failure_of_head(head),
        _ => None,
    }
}

/// Returns the `ToolError` to change it, if it is one, boxed or not.
pub(super) fn ours_mut<'a>(error: &'a mut (dyn Any + 'static)) -> Option<&'a mut ToolError> {
    match error.is::<BoxError>() {
        true => error.downcast_mut::<BoxError>()?.downcast_mut(),
        false => error.downcast_mut(),
    }
}

/// Takes the error of an attempt whose result is dropped. An error of another type than those of
/// the layers stays where it is.
pub(super) fn take(error: &mut (dyn Any + 'static)) -> Option<ToolError> {
    match ours(error) {
        Some(ours) => Some(ours.clone()),
        None => {
            let boxed = error.downcast_mut::<BoxError>()?;
            Some(mem::replace(boxed, "taken".into()).into())
        }
    }
}
