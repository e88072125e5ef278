//! What a failure of the tool means: for a retry, and for a circuit breaker.

use std::time::Duration;

use super::ToolError;

// === impl ToolError ===

impl ToolError {
    /// Sets whether a retry may help after this failure of the tool. Errors of other kinds stay
    /// unchanged.
    #[must_use]
    pub fn with_retryable(mut self, may_help: bool) -> Self {
        if let Self::Tool { retryable, .. } = &mut self {
            *retryable = may_help;
        }
        self
    }

    /// Sets the time to wait before a retry of this failure of the tool, such as a service names
    /// with its error. Errors of other kinds stay unchanged.
    ///
    /// It does not make the error [retryable](Self::with_retryable). A retry policy treats it as a
    /// lower bound of the wait, with a maximum.
    ///
    /// ```
    /// use std::time::Duration;
    /// use toolbooth_core::ToolError;
    ///
    /// let error = ToolError::failed("busy")
    ///     .with_retryable(true)
    ///     .with_retry_after(Duration::from_secs(2));
    /// assert_eq!(error.retry_after(), Some(Duration::from_secs(2)));
    /// ```
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        if let Self::Tool { retry_after, .. } = &mut self {
            *retry_after = Some(wait);
        }
        self
    }

    /// Returns whether the same call may succeed later.
    ///
    /// True for timeouts, for rejections by limits, and for failures that the tool marked as
    /// retryable. False for a call whose cost exceeds the limit, and for a limit of 0.
    ///
    /// It does not state that a retry is safe: a tool that timed out may have had effects. A retry
    /// policy also needs to know whether the tool had started and whether the call is
    /// [idempotent](crate::ToolCall::with_idempotent).
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Timeout { .. } | Self::RateLimited { .. } | Self::CircuitOpen { .. } => true,
            Self::Overloaded { reason, .. } => reason.is_retryable(),
            Self::Tool { retryable, .. } => *retryable,
            _ => false,
        }
    }

    /// Sets whether this failure of the tool is an outage: true by default. Errors of other kinds
    /// stay unchanged.
    ///
    /// False for a tool that worked and reports that it did not succeed, as a response with
    /// [`is_error`](crate::ToolOutput::is_error) does. A streaming response can end with such an
    /// error. Circuit breakers do not count it as a failure.
    #[must_use]
    pub fn with_outage(mut self, is_outage: bool) -> Self {
        if let Self::Tool { outage, .. } = &mut self {
            *outage = is_outage;
        }
        self
    }

    /// Returns whether the tool did not work: it failed, unless [set
    /// otherwise](Self::with_outage), timed out or panicked.
    #[must_use]
    pub const fn is_outage(&self) -> bool {
        match self {
            Self::Timeout { .. } | Self::Panicked { .. } => true,
            Self::Tool { outage, .. } => *outage,
            _ => false,
        }
    }
}
