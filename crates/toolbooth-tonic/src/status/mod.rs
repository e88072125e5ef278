//! The conversion of errors into statuses of gRPC, and back.

mod from_status;
mod headers;
mod to_status;

pub use from_status::tool_error;
pub(crate) use headers::headers_of;
pub use to_status::{ERROR_DOMAIN, status};

use tonic::Status;
use toolbooth::{BoxError, ToolError};

/// The metadata by which a server sets the time of a retry, in milliseconds. A negative number
/// rules out a retry ([gRFC A6]).
///
/// [gRFC A6]: https://github.com/grpc/proposal/blob/master/A6-client-retries.md
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// Returns the status that a client receives for the error of a service. A `Status` stays as it is.
pub(crate) fn status_of(error: BoxError) -> Status {
    match error.downcast::<Status>() {
        Ok(status) => *status,
        Err(error) => status(&ToolError::from(error)),
    }
}
