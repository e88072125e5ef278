//! The time that a tool sets for its callers to wait.

use std::time::Duration;

use toolbooth_core::{End, ErrorKind, ResponseHead};

/// Returns the time of a `rate_limited` error that the tool itself returned.
pub(super) fn of_end(end: &End<'_>) -> Option<Duration> {
    match end {
        End::Failed(error) if error.kind() == ErrorKind::RateLimited => error.retry_after(),
        _ => None,
    }
}

/// Returns the time that an HTTP response with the status 429 or 503 names.
pub(super) fn of_response(head: ResponseHead<'_>) -> Option<Duration> {
    match head {
        #[cfg(feature = "http")]
        ResponseHead::Http(head) => crate::middleware::retry_after(head),
        _ => None,
    }
}
