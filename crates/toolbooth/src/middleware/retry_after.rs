use std::time::Duration;

use http::StatusCode;
use http::header::RETRY_AFTER;
use http::response::Parts;

/// Returns the time after which a service accepts calls again: the `Retry-After` of a response with
/// the status 429 or 503. `None` for a date, and for what is neither.
///
/// A number of seconds of any length is a time: a service that rejects calls for ages rejects them.
pub(crate) fn retry_after(head: &Parts) -> Option<Duration> {
    match head.status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {}
        _ => return None,
    }
    let seconds = head.headers.get(RETRY_AFTER)?.to_str().ok()?;
    let seconds = seconds.trim();
    if seconds.is_empty() || !seconds.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // It fails only for a number beyond the range.
    Some(Duration::from_secs(seconds.parse().unwrap_or(u64::MAX)))
}
