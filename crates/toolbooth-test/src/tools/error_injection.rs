use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;
use toolbooth_core::{ToolCall, ToolError, ToolOutput};

use super::service;
use crate::probe::Probe;

/// Completes after a delay, with the error that its arguments select or without one.
///
/// The arguments are `{"error_type": "none", "delay_ms": 0}`. The type is `none`, `timeout`,
/// `connection` or `value`.
///
/// ```
/// use toolbooth::{ErrorKind, ToolCall};
/// use toolbooth_test::{ErrorInjectionTool, InjectedError, call_all, ms};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let args = ErrorInjectionTool::args(InjectedError::Connection, ms(100));
/// let finished = call_all(ErrorInjectionTool::new(), [ToolCall::new("api", args)]).await;
/// assert_eq!(finished[0].at, ms(100));
/// assert_eq!(finished[0].error_kind(), Some(ErrorKind::Tool));
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct ErrorInjectionTool {
    probe: Probe,
}

/// An error that [`ErrorInjectionTool`] returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InjectedError {
    /// A timeout inside the tool, which is not one of a layer.
    Timeout,
    /// A failed connection.
    Connection,
    /// An invalid value.
    Value,
}

// === impl ErrorInjectionTool ===

impl ErrorInjectionTool {
    /// Creates a tool that behaves as its arguments select.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns arguments that make it fail with `error` after `delay`, or succeed for `None`.
    #[must_use]
    pub fn args(error: impl Into<Option<InjectedError>>, delay: Duration) -> Value {
        let error_type = error.into().map_or("none", InjectedError::as_str);
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        json!({ "error_type": error_type, "delay_ms": delay_ms })
    }

    /// Counts the calls inside this tool.
    #[must_use]
    pub const fn probe(&self) -> &Probe {
        &self.probe
    }

    async fn run(self, call: ToolCall) -> Result<ToolOutput, ToolError> {
        let _inside = self.probe.enter();
        let args = call.args();
        let error = match args["error_type"].as_str() {
            None | Some("none") => None,
            Some("timeout") => Some(InjectedError::Timeout),
            Some("connection") => Some(InjectedError::Connection),
            Some("value") => Some(InjectedError::Value),
            Some(_) => return Err(ToolError::invalid_arguments("error_type", "no such error")),
        };
        sleep(Duration::from_millis(
            args["delay_ms"].as_u64().unwrap_or_default(),
        ))
        .await;
        match error {
            Some(error) => Err(ToolError::failed(error)),
            None => Ok(ToolOutput::text("done")),
        }
    }
}

service!(ErrorInjectionTool);

// === impl InjectedError ===

impl InjectedError {
    /// Returns the `error_type` of the arguments.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Connection => "connection",
            Self::Value => "value",
        }
    }
}

impl fmt::Display for InjectedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "simulated {} error", self.as_str())
    }
}

impl std::error::Error for InjectedError {}
