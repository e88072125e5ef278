//! The JSON of an error.

use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use super::{ErrorKind, ToolError};
use crate::response::Partial;

/// The JSON of a [`ToolError`]: what another process may know of it.
///
/// A `ToolError` serializes as its report. Only a report deserializes: an error that comes from
/// another process has no source, and layers here did not make it.
///
/// Arguments, the sources of the error and the message of a panic are never in it. Fields that are
/// not set are left out, and unknown fields are ignored.
///
/// | Field | Meaning | For a client |
/// |---|---|---|
/// | `kind` | The [`ErrorKind`] by its stable name. | yes |
/// | `message` | The [`public_message`](ToolError::public_message). | yes |
/// | `started` | Whether the tool [had been called](ToolError::started). | yes |
/// | `retryable` | Whether the same call [may succeed later](ToolError::is_retryable). | yes |
/// | `retry_after_ms` | The time to wait before a retry, rounded up. | yes |
/// | `tool`, `call_id` | The call. | yes |
/// | `partial` | The partial result. | yes |
/// | `layer`, `layer_kind` | The name and the kind of the layer that made the error. | no |
/// | `queue` | The limit in whose queue the call waited when it timed out. | no |
/// | `limit` | The limit that rejected the call, as text. | no |
/// | `limit_ms` | The time limit that expired. | no |
///
/// [`for_client`](Self::for_client) removes the fields that are the operator's.
///
/// ```
/// use std::time::Duration;
/// use serde_json::json;
/// use toolbooth_core::{ErrorKind, ErrorReport, ToolError};
///
/// let error = ToolError::rate_limited(Duration::from_millis(40));
/// let expected = json!({
///     "kind": "rate_limited",
///     "message": "too many calls, try again in 40ms",
///     "started": false,
///     "retryable": true,
///     "retry_after_ms": 40,
/// });
/// assert_eq!(serde_json::to_value(&error).unwrap(), expected);
/// let report: ErrorReport = serde_json::from_value(expected).unwrap();
/// assert_eq!(report.kind, ErrorKind::RateLimited);
/// assert_eq!(report, error.report());
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ErrorReport {
    /// The kind.
    pub kind: ErrorKind,
    /// The text that a client may read.
    pub message: String,
    /// Whether the tool had been called, by any attempt of the call.
    pub started: bool,
    /// Whether the same call may succeed later.
    pub retryable: bool,
    /// The time to wait before a retry in milliseconds, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The name of the tool, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// The id of the call, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
    /// The partial result, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partial: Option<Partial>,
    /// The name of the layer that made the error. For the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<String>,
    /// The kind of the layer that made the error. For the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer_kind: Option<String>,
    /// The limit in whose queue the call waited when it timed out. For the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// The limit that rejected the call, as text. For the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// The time limit that expired, in milliseconds. For the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_ms: Option<u64>,
}

// === impl ErrorReport ===

impl ErrorReport {
    /// Removes the fields that are for the operator alone: the layer, the queue and the limits.
    #[must_use]
    pub fn for_client(mut self) -> Self {
        self.layer = None;
        self.layer_kind = None;
        self.queue = None;
        self.limit = None;
        self.limit_ms = None;
        self
    }
}

// === impl ToolError ===

impl ToolError {
    /// Returns the report of the error, which serializes. The partial result is copied.
    #[must_use]
    pub fn report(&self) -> ErrorReport {
        let limit_ms = match self {
            Self::Timeout { limit, .. } => Some(millis_up(*limit)),
            _ => None,
        };
        ErrorReport {
            kind: self.kind(),
            message: self.public_message(),
            started: self.started(),
            retryable: self.is_retryable(),
            retry_after_ms: self.retry_after().map(millis_up),
            tool: self.tool().map(str::to_owned),
            call_id: self.call_id().map(str::to_owned),
            partial: self.partial().cloned(),
            layer: self.layer().map(str::to_owned),
            layer_kind: self.layer_kind().map(str::to_owned),
            queue: self.queue().map(str::to_owned),
            limit: self.limit().map(str::to_owned),
            limit_ms,
        }
    }
}

/// Serializes the [report](ToolError::report).
impl Serialize for ToolError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.report().serialize(serializer)
    }
}

/// Returns whole milliseconds, rounded up.
fn millis_up(duration: Duration) -> u64 {
    let millis = duration.as_nanos().div_ceil(1_000_000);
    u64::try_from(millis).unwrap_or(u64::MAX)
}
