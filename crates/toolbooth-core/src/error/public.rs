//! What a client may read of an error.

use super::text::{bounded_message, bounded_name, millis_up, nearest_names};
use super::{DenyReason, OverloadReason, ToolError};
use crate::outcome::CancelReason;

// === impl ToolError ===

impl ToolError {
    /// Returns a text that a client may read: a fixed text for the kind, and what is safe to add.
    ///
    /// It adds the time to retry, why a tool is unavailable, an unknown name as the client sent it
    /// with the nearest names, the message of a gate that denied the call, and the path and the
    /// message of invalid arguments.
    /// Names and paths have at most 128 characters, messages 512. It never has the message of a
    /// panic, the text of a tool's error, the name of a layer or a tenant, or the operator's
    /// limits. These are in `Display` and in the sources, for the log.
    ///
    /// ```
    /// use toolbooth_core::ToolError;
    ///
    /// let error = ToolError::panicked("no route to postgres://admin:hunter2@db");
    /// assert_eq!(error.public_message(), "the tool failed");
    /// let error = ToolError::unknown_tool("serach");
    /// assert_eq!(error.public_message(), "there is no tool named `serach`");
    /// ```
    #[must_use]
    pub fn public_message(&self) -> String {
        match self {
            Self::Timeout { .. } => "the call timed out".to_owned(),
            Self::Cancelled {
                reason: CancelReason::Shutdown,
                ..
            } => "the service is shutting down".to_owned(),
            Self::Cancelled { .. } => "the call was cancelled".to_owned(),
            Self::RateLimited { retry_after, .. } => {
                let after = millis_up(*retry_after);
                format!("too many calls, try again in {after:?}")
            }
            Self::Overloaded {
                reason: OverloadReason::TooHeavy { .. },
                ..
            } => "the call is too large".to_owned(),
            Self::Overloaded {
                reason: OverloadReason::ShuttingDown { .. },
                ..
            } => "the service is shutting down".to_owned(),
            Self::Overloaded { .. } => "the service is overloaded, try again later".to_owned(),
            Self::CircuitOpen {
                retry_after,
                reason,
                ..
            } => {
                let reason = reason.as_deref().map(bounded_message);
                let reason = reason.as_deref().unwrap_or("the tool is unavailable");
                match retry_after {
                    Some(after) => format!("{reason}, try again in {:?}", millis_up(*after)),
                    None => format!("{reason}, try again later"),
                }
            }
            Self::Panicked { .. } | Self::Tool { .. } => "the tool failed".to_owned(),
            // The message of a layer, such as about a key, is not about what the client sent.
            Self::InvalidArguments { .. } if self.layer().is_some() => {
                "invalid arguments".to_owned()
            }
            Self::InvalidArguments { path, message, .. } => {
                let (path, message) = (bounded_name(path), bounded_message(message));
                format!("invalid arguments at `{path}`: {message}")
            }
            Self::UnknownTool { name, nearest, .. } => {
                let (name, nearest) = (bounded_name(name), nearest_names(nearest));
                format!("there is no tool named `{name}`{nearest}")
            }
            Self::Denied {
                reason: DenyReason::Decided { message },
                ..
            } => format!("the call was denied: {}", bounded_message(message)),
            Self::Denied { .. } => "the call was not approved".to_owned(),
            Self::TooDeep { .. } => "the call is nested too deep".to_owned(),
        }
    }
}
