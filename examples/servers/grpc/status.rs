use tonic::{Code, Status};
use toolbooth::{ErrorKind, ToolError};

/// Converts an error into a gRPC status.
#[must_use]
pub fn status(error: &ToolError) -> Status {
    let code = match error.kind() {
        ErrorKind::Timeout => Code::DeadlineExceeded,
        ErrorKind::RateLimited => Code::ResourceExhausted,
        ErrorKind::Overloaded | ErrorKind::CircuitOpen => Code::Unavailable,
        ErrorKind::UnknownTool => Code::NotFound,
        ErrorKind::Denied => Code::PermissionDenied,
        ErrorKind::TooDeep => Code::FailedPrecondition,
        ErrorKind::InvalidArguments => Code::InvalidArgument,
        ErrorKind::Cancelled => Code::Cancelled,
        // The tool failed or panicked. Future kinds are no fault of the client either.
        _ => Code::Internal,
    };
    let mut status = Status::new(code, error.public_message());
    if let Some(seconds) = error.retry_after_seconds() {
        status.metadata_mut().insert("retry-after", seconds.into());
    }
    status
}
