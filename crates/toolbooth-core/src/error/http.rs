//! The mapping of errors to HTTP, from which adapters make responses.

use http::StatusCode;

use super::ToolError;
use crate::outcome::CancelReason;

/// nginx's code for a client that closed its request; no RFC defines it. The client cannot receive
/// it. In logs and metrics it separates disconnected clients from faults of the server.
const CLIENT_CLOSED_REQUEST: u16 = 499;

// === impl ToolError ===

impl ToolError {
    /// Returns the status of an HTTP response for this error.
    ///
    /// | error | status | source |
    /// |---|---|---|
    /// | `Timeout` | 504 Gateway Timeout | [RFC 9110, 15.6.5] |
    /// | `Cancelled` by a shutdown | 503 Service Unavailable | [RFC 9110, 15.6.4] |
    /// | `Cancelled` otherwise | 499 | nginx, for logs only |
    /// | `RateLimited` | 429 Too Many Requests | [RFC 6585, 4] |
    /// | `Overloaded`, `CircuitOpen` | 503 Service Unavailable | [RFC 9110, 15.6.4] |
    /// | `Panicked`, `Tool` | 500 Internal Server Error | [RFC 9110, 15.6.1] |
    /// | `InvalidArguments` | 400 Bad Request | [RFC 9110, 15.5.1] |
    /// | `Denied` | 403 Forbidden | [RFC 9110, 15.5.4] |
    /// | `UnknownTool` | 404 Not Found | [RFC 9110, 15.5.5] |
    /// | `TooDeep` | 508 Loop Detected | [RFC 5842, 7.2] |
    ///
    /// [RFC 9110, 15.5.1]: https://www.rfc-editor.org/rfc/rfc9110#section-15.5.1
    /// [RFC 9110, 15.5.4]: https://www.rfc-editor.org/rfc/rfc9110#section-15.5.4
    /// [RFC 9110, 15.5.5]: https://www.rfc-editor.org/rfc/rfc9110#section-15.5.5
    /// [RFC 9110, 15.6.1]: https://www.rfc-editor.org/rfc/rfc9110#section-15.6.1
    /// [RFC 9110, 15.6.4]: https://www.rfc-editor.org/rfc/rfc9110#section-15.6.4
    /// [RFC 9110, 15.6.5]: https://www.rfc-editor.org/rfc/rfc9110#section-15.6.5
    /// [RFC 5842, 7.2]: https://www.rfc-editor.org/rfc/rfc5842#section-7.2
    /// [RFC 6585, 4]: https://www.rfc-editor.org/rfc/rfc6585#section-4
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use http::{Response, StatusCode, header::RETRY_AFTER};
    /// use toolbooth_core::ToolError;
    ///
    /// fn to_response(error: &ToolError) -> Response<String> {
    ///     let mut response = Response::new(error.public_message());
    ///     *response.status_mut() = error.status();
    ///     if let Some(seconds) = error.retry_after_seconds() {
    ///         response.headers_mut().insert(RETRY_AFTER, seconds.into());
    ///     }
    ///     response
    /// }
    ///
    /// let limited = to_response(&ToolError::rate_limited(Duration::from_millis(1_200)));
    /// assert_eq!(limited.status(), StatusCode::TOO_MANY_REQUESTS);
    /// assert_eq!(limited.headers()[RETRY_AFTER], "2");
    ///
    /// let unknown = to_response(&ToolError::unknown_tool("serach"));
    /// assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    /// assert!(!unknown.headers().contains_key(RETRY_AFTER));
    /// ```
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "the one `expect` cannot fail")]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Timeout { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::Overloaded { .. }
            | Self::CircuitOpen { .. }
            | Self::Cancelled {
                reason: CancelReason::Shutdown,
                ..
            } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Cancelled { .. } => StatusCode::from_u16(CLIENT_CLOSED_REQUEST)
                .expect("499 is in the range of status codes"),
            Self::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Panicked { .. } | Self::Tool { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            Self::InvalidArguments { .. } => StatusCode::BAD_REQUEST,
            Self::Denied { .. } => StatusCode::FORBIDDEN,
            Self::UnknownTool { .. } => StatusCode::NOT_FOUND,
            Self::TooDeep { .. } => StatusCode::LOOP_DETECTED,
        }
    }

    /// Returns [`retry_after`](Self::retry_after) as a value of the header `Retry-After`
    /// ([RFC 9110, 10.2.3]).
    ///
    /// The value is in whole seconds, rounded up, so that a client does not retry too early. It is
    /// at least 1, since 0 would allow a rejected client to retry without a pause. `None` if the
    /// time is not known.
    ///
    /// [RFC 9110, 10.2.3]: https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use toolbooth_core::{OverloadReason, ToolError};
    ///
    /// let limited = ToolError::rate_limited(Duration::from_millis(40));
    /// assert_eq!(limited.retry_after_seconds(), Some(1));
    /// let full = ToolError::overloaded(OverloadReason::queue_full(1_024));
    /// assert_eq!(full.retry_after_seconds(), None);
    /// ```
    #[must_use]
    pub fn retry_after_seconds(&self) -> Option<u64> {
        let wait = self.retry_after()?;
        let rounded_up = u64::from(wait.subsec_nanos() > 0);
        Some(wait.as_secs().saturating_add(rounded_up).max(1))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::{
        BoxError, CancelReason, DenyReason, ErrorKind, OverloadReason, TimeoutScope, ToolError,
    };

    /// The status of each kind. A new kind does not compile until it is added here.
    fn status_of(kind: ErrorKind) -> u16 {
        match kind {
            ErrorKind::Timeout => 504,
            ErrorKind::Cancelled => 499,
            ErrorKind::RateLimited => 429,
            ErrorKind::Overloaded | ErrorKind::CircuitOpen => 503,
            ErrorKind::Panicked | ErrorKind::Tool => 500,
            ErrorKind::InvalidArguments => 400,
            ErrorKind::Denied => 403,
            ErrorKind::UnknownTool => 404,
            ErrorKind::TooDeep => 508,
        }
    }

    fn one_of_each() -> Vec<ToolError> {
        let second = Duration::from_secs(1);
        vec![
            ToolError::timeout(TimeoutScope::Total, second, second),
            ToolError::timeout(TimeoutScope::Deadline, second, second),
            ToolError::cancelled(CancelReason::CallerGone),
            ToolError::cancelled(CancelReason::Timeout),
            ToolError::rate_limited(second),
            ToolError::overloaded(OverloadReason::Closed),
            ToolError::overloaded(OverloadReason::queue_full(1)),
            ToolError::overloaded(OverloadReason::waited_too_long(second)),
            ToolError::overloaded(OverloadReason::shutting_down(second)),
            ToolError::circuit_open(second),
            ToolError::circuit_open(None),
            ToolError::panicked("oh"),
            ToolError::invalid_arguments("filter.tags[2]", "not a string"),
            ToolError::unknown_tool("serach"),
            ToolError::denied(DenyReason::decided("read-only mode")),
            ToolError::too_deep(5),
            ToolError::failed("half way"),
            ToolError::failed("half way").with_retryable(true),
        ]
    }

    #[test]
    fn each_kind_maps_to_its_status() {
        let mut kinds = std::collections::HashSet::new();
        for error in one_of_each() {
            assert_eq!(error.status(), status_of(error.kind()), "{error}");
            kinds.insert(error.kind());
        }
        assert_eq!(kinds.len(), 11, "one kind is missing");
    }

    #[test]
    fn a_shutdown_is_no_fault_of_the_client() {
        let cancelled = ToolError::cancelled(CancelReason::Shutdown);
        assert_eq!(cancelled.status(), 503);
        let rejected = ToolError::overloaded(OverloadReason::shutting_down(Duration::from_secs(5)));
        let seen = (
            rejected.status().as_u16(),
            rejected.retry_after_seconds(),
            rejected.is_retryable(),
        );
        assert_eq!(seen, (503, Some(5), true));
    }

    #[test]
    fn errors_of_tower_have_the_same_status() {
        let of = |error: BoxError| ToolError::from(error).status();
        assert_eq!(of(tower::timeout::error::Elapsed::new().into()), 504);
        assert_eq!(of(tower::load_shed::error::Overloaded::new().into()), 503);
        assert_eq!(of("any other".into()), 500);
    }

    #[test]
    fn retry_after_is_rounded_up_to_seconds() {
        let seconds = |wait| ToolError::rate_limited(wait).retry_after_seconds();
        for (wait, expected) in [
            (Duration::ZERO, 1),
            (Duration::from_nanos(1), 1),
            (Duration::from_millis(999), 1),
            (Duration::from_secs(1), 1),
            (Duration::new(1, 1), 2),
            (Duration::from_millis(59_001), 60),
            (Duration::MAX, u64::MAX),
        ] {
            assert_eq!(seconds(wait), Some(expected), "{wait:?}");
        }
    }

    #[test]
    fn unknown_retry_after_is_none() {
        for error in one_of_each() {
            let known = match &error {
                ToolError::RateLimited { .. } => true,
                ToolError::CircuitOpen { retry_after, .. } => retry_after.is_some(),
                ToolError::Overloaded { reason, .. } => reason.retry_after().is_some(),
                _ => false,
            };
            assert_eq!(error.retry_after_seconds().is_some(), known, "{error}");
        }
    }
}
