//! Converts the result of a call into the verdict that the breaker counts.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use toolbooth_core::{CancelReason, End, ErrorKind, Outcome, ResponseHead, ToolError, ToolOutput};

use super::rule::Verdict;

/// A possible failure of a tool, the argument of a predicate.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Failure<'a> {
    /// The tool failed or timed out.
    Error(&'a ToolError),
    /// The response of the tool reports a failure.
    Response(&'a ToolOutput),
    /// The HTTP service returned a status of 500 or above.
    #[cfg(feature = "http")]
    Http(&'a http::response::Parts),
}

type Predicate = dyn Fn(Failure<'_>) -> bool + Send + Sync;

/// The settings that decide how results are counted.
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

    /// Returns the verdict of a response that reports a failure, otherwise `None`.
    pub(super) fn of_response(&self, head: ResponseHead<'_>) -> Option<Verdict> {
        match head {
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

    /// Returns the verdict of a call that has ended.
    ///
    /// `response` is the verdict of its response. `queued` is true if no attempt has reached the
    /// tool.
    pub(super) fn of_end(&self, end: &End<'_>, response: Option<Verdict>, queued: bool) -> Verdict {
        match end {
            End::Complete => response.unwrap_or(Verdict::Success),
            End::Failed(error) => response.unwrap_or_else(|| self.of_error(error, queued)),
            End::Panicked => failure_if(self.panics),
            End::Dropped(CancelReason::Timeout) => failure_if(!queued),
            End::Dropped(CancelReason::CallerGone) => failure_if(self.drops && !queued),
            _ => Verdict::None,
        }
    }

    fn of_error(&self, error: &ToolError, queued: bool) -> Verdict {
        match error.outcome() {
            Outcome::Panicked => failure_if(self.panics),
            Outcome::TimedOut if queued => Verdict::None,
            // A mistake of the caller.
            Outcome::Failed if error.kind() == ErrorKind::InvalidArguments => Verdict::None,
            Outcome::TimedOut | Outcome::Failed => self.of(Failure::Error(error)),
            // Rejected or cancelled.
            _ => Verdict::None,
        }
    }

    fn of(&self, failure: Failure<'_>) -> Verdict {
        let Some(predicate) = &self.predicate else {
            return Verdict::Failure;
        };
        // If the predicate panics, the failure counts.
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
