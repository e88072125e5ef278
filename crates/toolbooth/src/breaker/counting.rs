//! Converts the result of a call into the verdict that the breaker counts.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use toolbooth_core::{CancelReason, End, ErrorKind, Item, Part, ResponseHead, ToolError};

use super::result::{CallResult, is_failure};
use super::rule::Verdict;
#[cfg(feature = "http")]
use crate::middleware::retry_after;

type Predicate = dyn Fn(CallResult<'_>) -> bool + Send + Sync;

/// The settings that decide how results are counted.
#[derive(Clone)]
pub(super) struct Counting {
    pub(super) panics: bool,
    pub(super) drops: bool,
    /// The maximum time for which a tool that rejects calls opens the breaker, if it does.
    pub(super) cool_down: Option<Duration>,
    predicate: Option<Arc<Predicate>>,
}

/// The part of a response that was seen so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing that shows whether the tool works.
    Nothing,
    /// An item, or the head of an HTTP response, that is no failure.
    Working,
    /// All of a buffered response, which is no failure, but may report an error.
    Buffered,
    /// A head or trailers that are a failure, whatever follows.
    Failure,
    /// The head of an HTTP response by which the service rejects calls for this many seconds.
    #[cfg(feature = "http")]
    Rejection { seconds: u32 },
}

// === impl Seen ===

#[cfg(feature = "http")]
impl Seen {
    fn rejection(time: Duration) -> Self {
        let seconds = u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        Self::Rejection { seconds }
    }
}

// === impl Counting ===

impl Counting {
    pub(super) const fn new() -> Self {
        Self {
            panics: true,
            drops: false,
            cool_down: None,
            predicate: None,
        }
    }

    pub(super) fn set_predicate<F>(&mut self, predicate: F)
    where
        F: Fn(CallResult<'_>) -> bool + Send + Sync + 'static,
    {
        self.predicate = Some(Arc::new(predicate));
    }

    pub(super) fn of_head(&self, head: ResponseHead<'_>) -> Seen {
        match head {
            ResponseHead::Tool(output) if self.is_failure(CallResult::Response(output)) => {
                Seen::Failure
            }
            ResponseHead::Tool(output) if output.is_stream() => Seen::Nothing,
            #[cfg(feature = "http")]
            ResponseHead::Http(parts) => {
                let result = CallResult::Http(parts);
                match self.cool_down.and_then(|_| retry_after(parts)) {
                    Some(time) if !time.is_zero() => Seen::rejection(time),
                    _ if self.is_failure(result) => Seen::Failure,
                    // The status is in the trailers.
                    _ if head.is_grpc() && result.grpc_status().is_none() => Seen::Nothing,
                    _ => Seen::Working,
                }
            }
            _ => Seen::Buffered,
        }
    }

    pub(super) fn of_item(&self, seen: Seen, item: Item<'_>) -> Seen {
        match (seen, item) {
            #[cfg(feature = "http")]
            (Seen::Nothing | Seen::Working, Item::Trailers(trailers))
                if self.is_failure(CallResult::Trailers(trailers)) =>
            {
                Seen::Failure
            }
            (Seen::Nothing, _) => Seen::Working,
            (seen, _) => seen,
        }
    }

    /// Returns the verdict of a call that has ended, of whose response this was seen.
    pub(super) fn of_end(&self, end: &End<'_>, seen: Seen, part: &Part) -> Verdict {
        match (seen, end) {
            (Seen::Failure, _) => Verdict::Failure,
            #[cfg(feature = "http")]
            (Seen::Rejection { seconds }, _) => {
                let verdict = self.of_hint(Duration::from_secs(seconds.into()));
                verdict.unwrap_or(Verdict::None)
            }
            // The error of a buffered response stands for the response.
            (Seen::Buffered, _) | (_, End::Complete) => Verdict::Success,
            (_, End::Failed(error)) => self.of_error(error, seen, part),
            (_, End::Panicked) => failure_if(self.panics),
            (_, End::Dropped(reason)) => self.of_cancelled(*reason, seen, part),
            _ => Verdict::None,
        }
    }

    fn of_error(&self, error: &ToolError, seen: Seen, part: &Part) -> Verdict {
        match error {
            ToolError::Panicked { .. } => failure_if(self.panics),
            ToolError::Cancelled { reason, .. } if part.context().is_cancelled() => {
                self.of_cancelled(*reason, seen, part)
            }
            error if !error.started() || is_held_back(error, part) => Verdict::None,
            ToolError::RateLimited { retry_after, .. } => self
                .of_hint(*retry_after)
                .unwrap_or_else(|| self.of_tool_error(error)),
            error => self.of_tool_error(error),
        }
    }

    fn of_tool_error(&self, error: &ToolError) -> Verdict {
        match self.is_failure(CallResult::Error(error)) {
            true => Verdict::Failure,
            // The tool worked on the call.
            false if error.kind() == ErrorKind::Tool => Verdict::Success,
            false => Verdict::None,
        }
    }

    /// Returns the verdict of a call that something outside ended.
    fn of_cancelled(&self, reason: CancelReason, seen: Seen, part: &Part) -> Verdict {
        match reason {
            _ if part.is_latest_held_back() => Verdict::None,
            CancelReason::Timeout => self.of_tool_error(&ToolError::cancelled(reason)),
            _ if seen == Seen::Working => Verdict::Success,
            CancelReason::CallerGone => failure_if(self.drops),
            _ => Verdict::None,
        }
    }

    /// Returns the verdict of a rejection by the tool, if the breaker cools down.
    fn of_hint(&self, retry_after: Duration) -> Option<Verdict> {
        let time = retry_after.min(self.cool_down?);
        (!time.is_zero()).then_some(Verdict::CoolDown(time))
    }

    fn is_failure(&self, result: CallResult<'_>) -> bool {
        let Some(predicate) = &self.predicate else {
            return is_failure(result);
        };
        // A predicate that panics counts as true.
        catch_unwind(AssertUnwindSafe(|| predicate(result))).unwrap_or(true)
    }
}

/// Returns whether a layer inside rejected the latest attempt, or queued it until the call timed
/// out. An earlier attempt may have started.
fn is_held_back(error: &ToolError, part: &Part) -> bool {
    match error.kind() {
        ErrorKind::Timeout => part.is_latest_held_back(),
        ErrorKind::RateLimited
        | ErrorKind::Overloaded
        | ErrorKind::CircuitOpen
        | ErrorKind::InvalidArguments
        | ErrorKind::UnknownTool
        | ErrorKind::Denied => error.layer_kind().is_some(),
        _ => false,
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
            .field("cool_down", &self.cool_down)
            .finish_non_exhaustive()
    }
}
