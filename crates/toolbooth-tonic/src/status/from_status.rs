use std::error::Error;
use std::time::Duration;

use tonic::{Code, ConnectError, Status, TimeoutExpired};
use tonic_types::StatusExt;
use toolbooth::{TimeoutScope, ToolError};

use super::PUSHBACK;
use super::to_status::ERROR_DOMAIN;

/// Converts the status that a service returned into the error of a tool that calls it.
///
/// Retry policies, circuit breakers and events then treat it by its meaning:
///
/// | status | error | outage |
/// |---|---|---|
/// | `DEADLINE_EXCEEDED`, or the timeout of a `Channel` | `Timeout` | yes |
/// | `RESOURCE_EXHAUSTED` with a time to wait | `RateLimited` with that time | no |
/// | `UNAVAILABLE`, `UNKNOWN`, `INTERNAL`, `DATA_LOSS` | `Tool` | yes |
/// | any other code | `Tool` | no: it is about the call, not about the service |
///
/// The status is the source of the error, or of its source. No client reads its message.
///
/// The time to wait is the `RetryInfo` in the details, otherwise the metadata
/// `grpc-retry-pushback-ms`. It is the error's [`retry_after`](ToolError::retry_after). A retry
/// policy has a maximum for it.
///
/// The error is [retryable](ToolError::is_retryable) if the status has a time to wait, if no
/// connection was made, or if another server of toolbooth states that the tool had not started. All
/// other statuses are retried only for idempotent calls, since the method may have had effects. A
/// negative `grpc-retry-pushback-ms` rules out that the error is retryable.
///
/// ```
/// use tonic::Status;
/// use toolbooth::ErrorKind;
/// use toolbooth_tonic::tool_error;
///
/// // `client.search(request).await.map_err(tool_error)?` in a tool.
/// let error = tool_error(Status::unavailable("connection reset"));
/// assert_eq!((error.kind(), error.is_outage()), (ErrorKind::Tool, true));
/// let error = tool_error(Status::invalid_argument("no such field"));
/// assert_eq!((error.kind(), error.is_outage()), (ErrorKind::Tool, false));
/// ```
#[must_use]
pub fn tool_error(status: Status) -> ToolError {
    let hint = Hint::of(&status);
    let code = status.code();
    let is_timeout = code == Code::DeadlineExceeded || has_source::<TimeoutExpired>(&status);
    let is_retryable = !hint.never
        && (hint.wait.is_some() || hint.not_started || has_source::<ConnectError>(&status));
    let is_outage = matches!(
        code,
        Code::Unavailable | Code::Unknown | Code::Internal | Code::DataLoss
    );
    let error = ToolError::failed(status)
        .with_outage(is_outage)
        .with_retryable(is_retryable);
    match hint.wait {
        _ if is_timeout => {
            // The first layer that receives it sets the elapsed time.
            let (limit, elapsed) = (Duration::ZERO, Duration::ZERO);
            ToolError::timeout(TimeoutScope::Foreign, limit, elapsed).with_source(error)
        }
        Some(wait) if code == Code::ResourceExhausted => {
            ToolError::rate_limited(wait).with_source(error)
        }
        Some(wait) => error.with_retry_after(wait),
        None => error,
    }
}

/// What a status states about a retry.
struct Hint {
    /// The time to wait.
    wait: Option<Duration>,
    /// A retry is ruled out.
    never: bool,
    /// The tool of another server of toolbooth had not started, and a retry may help.
    not_started: bool,
}

// === impl Hint ===

impl Hint {
    fn of(status: &Status) -> Self {
        let pushback = pushback(status);
        let wait = status
            .get_details_retry_info()
            .and_then(|info| info.retry_delay);
        Self {
            wait: wait.or_else(|| Some(Duration::from_millis(pushback?.try_into().ok()?))),
            never: pushback.is_some_and(i64::is_negative),
            not_started: states_not_started(status),
        }
    }
}

fn pushback(status: &Status) -> Option<i64> {
    let millis = status.metadata().get(PUSHBACK)?;
    millis.to_str().ok()?.parse().ok()
}

fn states_not_started(status: &Status) -> bool {
    let Some(info) = status.get_details_error_info() else {
        return false;
    };
    let is = |key, value| info.metadata.get(key).is_some_and(|is| is == value);
    info.domain == ERROR_DOMAIN && is("started", "false") && is("retryable", "true")
}

/// Returns whether an error of this type is among the sources of a status.
fn has_source<E: Error + 'static>(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<E>() {
            return true;
        }
        source = error.source();
    }
    false
}
