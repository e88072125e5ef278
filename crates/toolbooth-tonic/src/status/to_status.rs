use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tonic::metadata::MetadataValue;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use toolbooth::{CancelReason, ErrorKind, ToolError};
use toolbooth_core::start_of;

use super::PUSHBACK;

/// The domain of the `ErrorInfo` in each [`status`].
pub const ERROR_DOMAIN: &str = "toolbooth";

/// The maximum length of the message in bytes. Clients limit the size of headers, many of them to
/// 8 KiB, in which the message is twice.
const MAX_MESSAGE: usize = 1_024;

/// The maximum length of the name of the tool and of the id of the call in bytes.
const MAX_VALUE: usize = 128;

/// Converts an error into a status of gRPC.
///
/// | error | code |
/// |---|---|
/// | `Timeout` | `DEADLINE_EXCEEDED` |
/// | `RateLimited` | `RESOURCE_EXHAUSTED` |
/// | `Overloaded`, `CircuitOpen`, `Cancelled` by a shutdown | `UNAVAILABLE` |
/// | `Cancelled` otherwise | `CANCELLED` |
/// | `UnknownTool` | `NOT_FOUND` |
/// | `InvalidArguments` | `INVALID_ARGUMENT` |
/// | `Denied` | `PERMISSION_DENIED` |
/// | `TooDeep` | `FAILED_PRECONDITION` |
/// | `Panicked`, `Tool` | `INTERNAL` |
///
/// The message is the [`public_message`](ToolError::public_message), of at most 1,024 bytes. The
/// details are of the [richer error model]:
///
/// - `ErrorInfo`: the [kind](ErrorKind) in upper case as its reason, such as `RATE_LIMITED`, the
///   [domain](ERROR_DOMAIN) `toolbooth`, and as metadata `tool`, `call_id`, `started` and
///   `retryable`, as in an [`ErrorReport`](toolbooth::ErrorReport) for a client.
/// - `RetryInfo` with the [time to wait](ToolError::retry_after), if known.
///
/// The time is also in the metadata `retry-after`, in whole seconds, and `grpc-retry-pushback-ms`,
/// which clients with a retry policy of gRPC obey ([gRFC A6]). The latter is -1 for an overload
/// that a retry does not help against.
///
/// The names of layers and tenants, limits, and the sources of the error are not sent. The error is
/// the source of the status, for the log of this process. Partial results are not sent either.
///
/// ```
/// use std::time::Duration;
/// use tonic::Code;
/// use tonic_types::StatusExt;
/// use toolbooth::ToolError;
///
/// let status = toolbooth_tonic::status(&ToolError::rate_limited(Duration::from_millis(40)));
/// assert_eq!(status.code(), Code::ResourceExhausted);
/// assert_eq!(status.message(), "too many calls, try again in 40ms");
/// let retry = status.get_details_retry_info().ok_or("a limit knows the time")?;
/// assert_eq!(retry.retry_delay, Some(Duration::from_millis(40)));
/// # Ok::<_, &str>(())
/// ```
///
/// [richer error model]: https://grpc.io/docs/guides/error/#richer-error-model
/// [gRFC A6]: https://github.com/grpc/proposal/blob/master/A6-client-retries.md
#[must_use]
pub fn status(error: &ToolError) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason(error.kind()), ERROR_DOMAIN, metadata(error));
    if let Some(wait) = error.retry_after() {
        details.set_retry_info(Some(wait));
    }
    let message = error.public_message();
    let message = start_of(&message, MAX_MESSAGE);
    let mut status = Status::with_error_details(code(error), message, details);
    let metadata = status.metadata_mut();
    if let Some(seconds) = error.retry_after_seconds() {
        metadata.insert("retry-after", seconds.into());
    }
    if let Some(millis) = pushback(error) {
        metadata.insert(PUSHBACK, MetadataValue::from(millis));
    }
    status.set_source(Arc::new(error.clone()));
    status
}

fn code(error: &ToolError) -> Code {
    match error.kind() {
        ErrorKind::Timeout => Code::DeadlineExceeded,
        ErrorKind::RateLimited => Code::ResourceExhausted,
        ErrorKind::Overloaded | ErrorKind::CircuitOpen => Code::Unavailable,
        ErrorKind::UnknownTool => Code::NotFound,
        ErrorKind::Denied => Code::PermissionDenied,
        ErrorKind::TooDeep => Code::FailedPrecondition,
        ErrorKind::InvalidArguments => Code::InvalidArgument,
        ErrorKind::Cancelled if is_by_shutdown(error) => Code::Unavailable,
        ErrorKind::Cancelled => Code::Cancelled,
        // The tool failed or panicked. Future kinds are no fault of the client either.
        _ => Code::Internal,
    }
}

const fn is_by_shutdown(error: &ToolError) -> bool {
    matches!(
        error,
        ToolError::Cancelled {
            reason: CancelReason::Shutdown,
            ..
        }
    )
}

fn reason(kind: ErrorKind) -> String {
    kind.as_str().to_ascii_uppercase()
}

fn metadata(error: &ToolError) -> HashMap<String, String> {
    let names = [("tool", error.tool()), ("call_id", error.call_id())];
    let names = names.into_iter().filter_map(|(key, name)| {
        let name = start_of(name?, MAX_VALUE);
        Some((key.to_owned(), name.to_owned()))
    });
    let flags = [
        ("started", error.started()),
        ("retryable", error.is_retryable()),
    ];
    let flags = flags
        .into_iter()
        .map(|(key, is_set)| (key.to_owned(), is_set.to_string()));
    names.chain(flags).collect()
}

/// Returns the value of [`PUSHBACK`], which is an integer of 32 bits.
fn pushback(error: &ToolError) -> Option<i32> {
    match error {
        ToolError::Overloaded { reason, .. } if !reason.is_retryable() => Some(-1),
        error => error.retry_after().map(millis_up),
    }
}

/// Returns whole milliseconds, rounded up.
fn millis_up(wait: Duration) -> i32 {
    let millis = wait.as_nanos().div_ceil(1_000_000);
    i32::try_from(millis).unwrap_or(i32::MAX)
}
