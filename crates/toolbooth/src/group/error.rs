use std::fmt;

use toolbooth_core::{Collected, ToolError};

/// The error of a group whose quorum was not reached.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum GroupError {
    /// The quorum is larger than the group. No call was made.
    #[non_exhaustive]
    TooFewCalls {
        /// The number of calls that have to succeed.
        needed: usize,
        /// The number of calls in the group.
        calls: usize,
    },
    /// Too many calls failed to reach the quorum. The others were cancelled.
    #[non_exhaustive]
    TooFewSucceeded {
        /// The number of calls that have to succeed.
        needed: usize,
        /// The outcome of each call, in the order of the calls.
        outcomes: Vec<Result<Collected, ToolError>>,
    },
}

// === impl GroupError ===

impl GroupError {
    /// Returns the outcome of each call, in the order of the calls. Empty if no call was made.
    pub fn outcomes(&self) -> &[Result<Collected, ToolError>] {
        match self {
            Self::TooFewCalls { .. } => &[],
            Self::TooFewSucceeded { outcomes, .. } => outcomes,
        }
    }
}

impl fmt::Display for GroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFewCalls { needed, calls } => {
                write!(f, "the quorum is {needed}, and the group has {calls} calls")
            }
            Self::TooFewSucceeded { needed, outcomes } => {
                let succeeded = outcomes.iter().filter(|outcome| succeeded(outcome)).count();
                write!(
                    f,
                    "{succeeded} of {} calls succeeded, and the quorum is {needed}",
                    outcomes.len()
                )
            }
        }
    }
}

impl std::error::Error for GroupError {}

/// Returns whether a call returned a response that does not report an error.
pub(super) fn succeeded(outcome: &Result<Collected, ToolError>) -> bool {
    outcome.as_ref().is_ok_and(|response| !response.is_error())
}
