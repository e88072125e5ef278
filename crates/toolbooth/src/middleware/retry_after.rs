use std::time::Duration;

use http::StatusCode;
use http::header::RETRY_AFTER;
use http::response::Parts;

/// Returns the time after which a service accepts calls again: the `Retry-After` of a response with
/// the status 429 or 503. `None` for a date.
pub(crate) fn retry_after(head: &Parts) -> Option<Duration> {
    match head.status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {}
        _ => return None,
    }
    let seconds = head.headers.get(RETRY_AFTER)?.to_str().ok()?;
    Some(Duration::from_secs(seconds.trim().parse().ok()?))
}
