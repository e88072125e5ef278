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

/// Returns the `Retry-After` of an HTTP response with the status 429 or 503, if it is in seconds.
pub(super) fn of_response(head: ResponseHead<'_>) -> Option<Duration> {
    match head {
        #[cfg(feature = "http")]
        ResponseHead::Http(head) => {
            use http::StatusCode;

            let limits = [
                StatusCode::TOO_MANY_REQUESTS,
                StatusCode::SERVICE_UNAVAILABLE,
            ];
            let after = head.headers.get(http::header::RETRY_AFTER)?;
            let seconds = after.to_str().ok()?.trim().parse().ok()?;
            limits
                .contains(&head.status)
                .then(|| Duration::from_secs(seconds))
        }
        _ => None,
    }
}
