use std::error::Error;

use tonic::Status;
use toolbooth::{BoxError, ErrorKind, ToolError};

use crate::status::{status, tool_error};

/// Converts the error of a channel, or of a layer around it, for the layers of toolbooth.
pub(super) fn channel_error(error: BoxError) -> ToolError {
    match error.downcast::<ToolError>() {
        Ok(ours) => *ours,
        // tonic finds the timeout and the failed connection among the sources.
        Err(error) => tool_error(Status::from_error(error)),
    }
}

/// Converts an error for the caller of a client. The status that the server or the channel returned
/// stays as it is.
pub(super) fn client_status(error: BoxError) -> Status {
    match error.downcast::<ToolError>() {
        Ok(error) => {
            let own = || source_status(&error).filter(|_| error.kind() == ErrorKind::Tool);
            own().unwrap_or_else(|| status(&error))
        }
        Err(error) => Status::from_error(error),
    }
}

/// Returns the status among the sources of an error.
fn source_status(error: &ToolError) -> Option<Status> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(status) = error.downcast_ref::<Status>() {
            return Some(status.clone());
        }
        source = error.source();
    }
    None
}
