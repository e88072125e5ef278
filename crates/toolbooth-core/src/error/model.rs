//! What a model reads of an error.

use super::text::{bounded_message, bounded_name, spoken_down, spoken_up};
use super::{DenyReason, OverloadReason, ToolError};
use crate::outcome::CancelReason;

// === impl ToolError ===

impl ToolError {
    /// Returns what a model reads of the error, in plain sentences: what happened, whether the tool
    /// had started, and whether and when to try again.
    ///
    /// As [`public_message`](Self::public_message), it has no secrets and a bounded length. Unlike
    /// that, it has the name of the tool and the time after which the call timed out.
    ///
    /// ```
    /// use std::time::Duration;
    /// use toolbooth_core::{TimeoutScope, ToolCall, ToolError};
    ///
    /// let call = ToolCall::new("crawl", serde_json::json!({ "pages": 1_000 }));
    /// let thirty = Duration::from_secs(30);
    /// let error = ToolError::timeout(TimeoutScope::Total, thirty, thirty).with_call(call.context());
    /// assert_eq!(
    ///     error.model_message(),
    ///     "The tool \"crawl\" timed out after 30 s. The tool had started, so some of its work may \
    ///      have been done. Try again later, but only if repeating the call does no harm."
    /// );
    /// ```
    #[must_use]
    pub fn model_message(&self) -> String {
        let what = sentence(&self.what_happened());
        let started = match (self, self.started()) {
            (_, true) => "The tool had started, so some of its work may have been done.",
            (Self::UnknownTool { .. }, false) => "The call had no effect.",
            (_, false) => "The tool had not started, so the call had no effect.",
        };
        format!("{what} {started} {}", self.advice())
    }

    fn what_happened(&self) -> String {
        let tool = match self.tool() {
            Some(name) => format!("the tool \"{}\"", bounded_name(name)),
            None => "the tool".to_owned(),
        };
        match self {
            Self::Timeout { elapsed, .. } if elapsed.is_zero() => format!("{tool} timed out"),
            Self::Timeout { elapsed, .. } => {
                format!("{tool} timed out after {}", spoken_down(*elapsed))
            }
            Self::Cancelled { reason, .. } => {
                let why = match reason {
                    CancelReason::Shutdown => ", because the service is shutting down",
                    CancelReason::Timeout => ", because a time limit expired",
                    CancelReason::LeaseLost => ", because its place in a shared limit was lost",
                    CancelReason::CallerGone | CancelReason::Parent | CancelReason::Explicit => "",
                };
                format!("the call of {tool} was cancelled{why}")
            }
            Self::RateLimited { .. } => {
                format!("the call of {tool} was rejected, because there were too many calls")
            }
            Self::Overloaded { reason, .. } => {
                let why = match reason {
                    OverloadReason::TooHeavy { .. } => "the call is too large",
                    OverloadReason::Closed => "the tool takes no calls",
                    OverloadReason::ShuttingDown { .. } => "the service is shutting down",
                    _ => "the service is overloaded",
                };
                format!("the call of {tool} was rejected, because {why}")
            }
            Self::CircuitOpen { reason, .. } => {
                let reason = reason.as_deref().map(bounded_message);
                let reason = reason.as_deref().unwrap_or("it failed too often");
                format!("{tool} is unavailable, because {reason}")
            }
            Self::Panicked { .. } | Self::Tool { .. } => format!("{tool} failed"),
            Self::InvalidArguments { .. } => {
                format!("the call of {tool} has {}", self.public_message())
            }
            Self::Denied {
                reason: DenyReason::Decided { message },
                ..
            } => format!(
                "the call of {tool} was denied: {}",
                bounded_message(message)
            ),
            Self::Denied { .. } => format!("the call of {tool} was not approved"),
            Self::UnknownTool { .. } | Self::TooDeep { .. } => self.public_message(),
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::InvalidArguments { .. } => {
                return "Correct the arguments before you try again.".to_owned();
            }
            Self::UnknownTool { .. } => return "Call a tool that is available.".to_owned(),
            Self::Denied { .. } => return "Do not repeat the call on your own.".to_owned(),
            Self::Cancelled {
                reason: CancelReason::Explicit | CancelReason::CallerGone | CancelReason::Parent,
                ..
            } => return "Do not repeat the call on your own.".to_owned(),
            Self::Overloaded {
                reason: OverloadReason::TooHeavy { .. },
                ..
            } => return "Make the call smaller before you try again.".to_owned(),
            // The service may be back, so a retry may help.
            Self::Cancelled { .. } => {}
            _ if !self.is_retryable() => return "Trying again is unlikely to help.".to_owned(),
            _ => {}
        }
        let when = match self.retry_after() {
            Some(after) if after.is_zero() => "now".to_owned(),
            Some(after) => format!("in {}", spoken_up(after)),
            None => "later".to_owned(),
        };
        // A tool that marks its error as retryable may be called again, as in a retry policy.
        match self.started() && !matches!(self, Self::Tool { .. }) {
            true => format!("Try again {when}, but only if repeating the call does no harm."),
            false => format!("Try again {when}."),
        }
    }
}

/// Returns the text with a capital letter and a full stop.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().into_iter().flat_map(char::to_uppercase);
    let mut sentence: String = first.chain(chars).collect();
    if !sentence.ends_with(['.', '?', '!']) {
        sentence.push('.');
    }
    sentence
}
