//! What a call that has ended tells of its tool.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use toolbooth_core::{CancelReason, End, ErrorKind, Outcome, ResponseHead, ToolError, ToolOutput};

use super::rule::Verdict;

/// What may be a failure of a tool: what a predicate decides upon.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Failure<'a> {
    /// The tool failed, or its time was up.
    Error(&'a ToolError),
    /// The tool answered that it failed.
    Response(&'a ToolOutput),
    /// The HTTP service answered with a status of 500 or above.
    #[cfg(feature = "http")]
    Http(&'a http::response::Parts),
}

type Predicate = dyn Fn(Failure<'_>) -> bool + Send + Sync;

/// Which ends of calls count, and as what.
#[derive(Clone)]
pub(super) struct Counting {
    pub(super) panics: bool,
    pub(super) drops: bool,
    predicate: Option<Arc<Predicate>>,
}

// === impl Counting ===

impl Counting {
    pub(super) const fn new() -> Self {
        Self {
            panics: true,
            drops: false,
            predicate: None,
        }
    }

    pub(super) fn set_predicate<F>(&mut self, predicate: F)
    where
        F: Fn(Failure<'_>) -> bool + Send + Sync + 'static,
    {
        self.predicate = Some(Arc::new(predicate));
    }

    /// What an answer tells, where it tells of a failure.
    pub(super) fn of_answer(&self, answer: ResponseHead<'_>) -> Option<Verdict> {
        match answer {
            ResponseHead::Tool(output) if output.is_error() => {
                Some(self.of(Failure::Response(output)))
            }
            #[cfg(feature = "http")]
            ResponseHead::Http(head) if head.status.is_server_error() => {
                Some(self.of(Failure::Http(head)))
            }
            _ => None,
        }
    }

    /// What the end of a call tells whose answer told this; `held` is for one that never got through to its tool.
    pub(super) fn of_end(&self, end: &End<'_>, answered: Option<Verdict>, held: bool) -> Verdict {
        match end {
            End::Complete => answered.unwrap_or(Verdict::Success),
            End::Failed(error) => answered.unwrap_or_else(|| self.of_error(error, held)),
            End::Panicked => failure_if(self.panics),
            End::Dropped(CancelReason::Timeout) => failure_if(!held),
            End::Dropped(CancelReason::CallerGone) => failure_if(self.drops && !held),
            _ => Verdict::None,
        }
    }

    fn of_error(&self, error: &ToolError, held: bool) -> Verdict {
        match error.outcome() {
            Outcome::Panicked => failure_if(self.panics),
            Outcome::TimedOut if held => Verdict::None,
            // The caller's own mistake.
            Outcome::Failed if error.kind() == ErrorKind::InvalidArguments => Verdict::None,
            Outcome::TimedOut | Outcome::Failed => self.of(Failure::Error(error)),
            // Refused, or cut by whoever waited for it.
            _ => Verdict::None,
        }
    }

    fn of(&self, failure: Failure<'_>) -> Verdict {
        let Some(predicate) = &self.predicate else {
            return Verdict::Failure;
        };
        // A predicate that panics says nothing: then what looks like a failure is one.
        match catch_unwind(AssertUnwindSafe(|| predicate(failure))) {
            Ok(false) => Verdict::Success,
            Ok(true) | Err(_) => Verdict::Failure,
        }
    }
}

const fn failure_if(counts: bool) -> Verdict {
    match counts {
        true => Verdict::Failure,
        false => Verdict::None,
    }
}

impl fmt::Debug for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counting")
            .field("panics", &self.panics)
            .field("drops", &self.drops)
            .finish_non_exhaustive()
    }
}
