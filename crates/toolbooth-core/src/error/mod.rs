//! The error type of all layers. It has the failure, whether and when to retry, the call, and the
//! partial result of the call.

mod convert;
mod debug;
mod failure;
#[cfg(feature = "http")]
mod http;
mod kind;
mod layer_name;
mod model;
mod origin;
mod public;
mod report;
mod source;
mod text;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

pub use kind::{DenyReason, ErrorKind, OverloadReason, TimeoutScope};
pub use layer_name::LayerName;
pub use origin::Origin;
pub(crate) use origin::Waited;
pub use report::ErrorReport;
pub use source::Source;

use self::text::{
    bounded_message, bounded_name, by_layer, millis, millis_up, nearest_names, of_layer, open_text,
    retry_text, shown_limit, waiting,
};
use crate::call::Name;
use crate::outcome::{CancelReason, Outcome};

/// Any error, boxed: what tower's own layers return.
pub type BoxError = tower::BoxError;

/// The error of a tool call. Every layer returns this type, so reordering layers changes no
/// signature.
///
/// It is small and cheap to clone: sources and partial results are shared. If it was boxed, it can
/// be downcast again. Match on the variants for details, and on [`kind`](Self::kind) for a stable
/// name of low cardinality.
///
/// ```
/// use toolbooth_core::{BoxError, ErrorKind, ToolError};
///
/// let boxed: BoxError = ToolError::unknown_tool("serach").into();
/// let error = ToolError::from(boxed);
/// assert_eq!(error.kind(), ErrorKind::UnknownTool);
/// assert_eq!(error.to_string(), "there is no tool named `serach`");
/// assert!(!error.is_retryable());
/// ```
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ToolError {
    /// A time limit expired.
    #[error(
        "timed out after {:?}{} ({scope} limit of {:?}{})",
        millis(*.elapsed),
        waiting(.origin),
        shown_limit(*.scope, *.limit),
        of_layer(.origin)
    )]
    #[non_exhaustive]
    Timeout {
        /// The kind of the limit.
        scope: TimeoutScope,
        /// The length of the limit. For a deadline, the time that was left when the call started.
        limit: Duration,
        /// The time since the call entered its outermost layer.
        elapsed: Duration,
        /// The error that the tool returned within the grace after the limit expired, or by an
        /// earlier attempt.
        source: Option<Source>,
        /// The call and its partial result.
        origin: Origin,
    },
    /// The call was cancelled.
    #[error("cancelled: {reason}{}", by_layer(.origin))]
    #[non_exhaustive]
    Cancelled {
        /// The reason.
        reason: CancelReason,
        /// The call and its partial result.
        origin: Origin,
    },
    /// A rate limit rejected the call. It did not run, and took no token.
    #[error(
        "rate limited, a token is free in {:?}{}",
        millis_up(*.retry_after),
        by_layer(.origin)
    )]
    #[non_exhaustive]
    RateLimited {
        /// The time until tokens are available for this call.
        retry_after: Duration,
        /// The error of an earlier attempt that had called the tool.
        source: Option<Source>,
        /// The call.
        origin: Origin,
    },
    /// A concurrency limit, a queue, or a service that is shutting down rejected the call. It did
    /// not run.
    #[error("overloaded: {reason}{}", by_layer(.origin))]
    #[non_exhaustive]
    Overloaded {
        /// Why it was rejected.
        reason: OverloadReason,
        /// The error of an earlier attempt that had called the tool.
        source: Option<Source>,
        /// The call.
        origin: Origin,
    },
    /// An open circuit breaker rejected the call, since the tool failed too often, or what the tool
    /// needs is unavailable. It did not run.
    #[error(
        "{}, {}{}",
        open_text(.reason.as_deref()),
        retry_text(*.retry_after),
        by_layer(.origin)
    )]
    #[non_exhaustive]
    CircuitOpen {
        /// The time until the breaker admits a call again. `None` if it depends on a running probe,
        /// or if the circuit was opened by hand.
        retry_after: Option<Duration>,
        /// Why the tool is unavailable, if it is not that it failed too often. For clients.
        reason: Option<Arc<str>>,
        /// The error of an earlier attempt that had called the tool.
        source: Option<Source>,
        /// The call.
        origin: Origin,
    },
    /// The tool panicked, and a layer or a task caught the panic.
    #[error("the tool panicked: {message}")]
    #[non_exhaustive]
    Panicked {
        /// The message of the panic.
        message: Arc<str>,
        /// The call and its partial result.
        origin: Origin,
    },
    /// The arguments are invalid for the tool. It did not run.
    #[error(
        "invalid arguments at `{}`: {}",
        bounded_name(.path),
        bounded_message(.message)
    )]
    #[non_exhaustive]
    InvalidArguments {
        /// The path within the arguments, such as `filter.tags[2]`, or `.` for all of them.
        path: Arc<str>,
        /// What is wrong there.
        message: Arc<str>,
        /// The call.
        origin: Origin,
    },
    /// There is no tool of this name. Nothing ran.
    #[error("there is no tool named `{}`{}", bounded_name(.name), nearest_names(.nearest))]
    #[non_exhaustive]
    UnknownTool {
        /// The unknown name. A toolbox shortens a long one.
        name: Name,
        /// The most similar names of tools, the nearest first.
        nearest: Arc<[Name]>,
        /// The call.
        origin: Origin,
    },
    /// A gate did not allow the call: a check of the mode, or a person. It did not run.
    #[error("denied: {reason}{}", by_layer(.origin))]
    #[non_exhaustive]
    Denied {
        /// Why it was denied.
        reason: DenyReason,
        /// The call.
        origin: Origin,
    },
    /// The call is nested too deep in calls that made one another. Nothing ran.
    #[error("nested too deep: at most {limit} levels below the outermost call")]
    #[non_exhaustive]
    TooDeep {
        /// The maximum number of levels below the outermost call.
        limit: u32,
        /// The call.
        origin: Origin,
    },
    /// The tool failed. Its error is the source.
    #[error("the tool failed")]
    #[non_exhaustive]
    Tool {
        /// The error that the tool returned.
        source: Source,
        /// Whether the tool marked its error as retryable.
        retryable: bool,
        /// Whether the failure is an outage.
        outage: bool,
        /// The time to wait before a retry, if the tool named one.
        retry_after: Option<Duration>,
        /// The call and its partial result.
        origin: Origin,
    },
}

// === impl ToolError ===

impl ToolError {
    /// Makes a failure of the tool. An error that is already a `ToolError` is returned as it is.
    #[must_use]
    pub fn failed(error: impl Into<BoxError>) -> Self {
        Self::from(error.into())
    }

    /// Makes the error of an expired time limit, for authors of layers.
    #[must_use]
    pub fn timeout(scope: TimeoutScope, limit: Duration, elapsed: Duration) -> Self {
        Self::Timeout {
            scope,
            limit,
            elapsed,
            source: None,
            origin: Origin::default(),
        }
    }

    /// Sets the [source](std::error::Error::source) of a timeout or a rejection: the error that the
    /// tool returned within the grace, or by an earlier attempt. Errors of other kinds stay
    /// unchanged. For authors of timeout layers and retry policies.
    #[must_use]
    pub fn with_source(mut self, error: Self) -> Self {
        if let Self::Timeout { source, .. }
        | Self::RateLimited { source, .. }
        | Self::Overloaded { source, .. }
        | Self::CircuitOpen { source, .. } = &mut self
        {
            *source = Some(Source::of(error));
        }
        self
    }

    /// Makes the error of a cancelled call, for a tool that stops because its call is cancelled.
    #[must_use]
    pub fn cancelled(reason: CancelReason) -> Self {
        Self::Cancelled {
            reason,
            origin: Origin::default(),
        }
    }

    /// Makes the rejection of a rate limit, with the time until tokens are available.
    #[must_use]
    pub fn rate_limited(retry_after: Duration) -> Self {
        Self::RateLimited {
            retry_after,
            source: None,
            origin: Origin::default(),
        }
    }

    /// Makes the rejection of a full limit, or of a service that is shutting down.
    #[must_use]
    pub fn overloaded(reason: OverloadReason) -> Self {
        Self::Overloaded {
            reason,
            source: None,
            origin: Origin::default(),
        }
    }

    /// Makes the rejection of a circuit breaker, with the time until it admits a call, if known.
    #[must_use]
    pub fn circuit_open(retry_after: impl Into<Option<Duration>>) -> Self {
        Self::CircuitOpen {
            retry_after: retry_after.into(),
            reason: None,
            source: None,
            origin: Origin::default(),
        }
    }

    /// Sets why a tool is unavailable: a clause such as ``the server `time` is away``. Errors other
    /// than [`CircuitOpen`](Self::CircuitOpen) stay unchanged. For authors of adapters.
    ///
    /// Clients and models read it, up to 512 characters. It must have no secrets.
    ///
    /// ```
    /// use std::time::Duration;
    /// use toolbooth_core::ToolError;
    ///
    /// let error = ToolError::circuit_open(Duration::from_secs(3));
    /// let error = error.with_reason("the server `time` is away");
    /// assert_eq!(error.public_message(), "the server `time` is away, try again in 3s");
    /// ```
    #[must_use]
    pub fn with_reason(mut self, why: impl Into<Arc<str>>) -> Self {
        if let Self::CircuitOpen { reason, .. } = &mut self {
            *reason = Some(why.into());
        }
        self
    }

    /// Makes the error of a panic, with its message.
    #[must_use]
    pub fn panicked(message: impl Into<Arc<str>>) -> Self {
        Self::Panicked {
            message: message.into(),
            origin: Origin::default(),
        }
    }

    /// Converts the payload of a panic, as [`catch_unwind`](std::panic::catch_unwind) or a task
    /// returns it. For authors of layers.
    #[must_use]
    pub fn from_panic(panic: &(dyn Any + Send)) -> Self {
        Self::panicked(match panic.downcast_ref::<String>() {
            Some(text) => text,
            None => panic
                .downcast_ref::<&str>()
                .copied()
                .unwrap_or("the panic message is not a string"),
        })
    }

    /// Makes the error of invalid arguments, with a path and a message.
    #[must_use]
    pub fn invalid_arguments(path: impl Into<Arc<str>>, message: impl Into<Arc<str>>) -> Self {
        Self::InvalidArguments {
            path: path.into(),
            message: message.into(),
            origin: Origin::default(),
        }
    }

    /// Makes the error of an unknown tool name.
    #[must_use]
    pub fn unknown_tool(name: impl Into<Name>) -> Self {
        Self::UnknownTool {
            name: name.into(),
            nearest: Arc::default(),
            origin: Origin::default(),
        }
    }

    /// Sets the most similar names of tools, the nearest first. Errors of other kinds than
    /// `UnknownTool` stay unchanged. The client may read these names.
    #[must_use]
    pub fn with_nearest(mut self, names: impl Into<Arc<[Name]>>) -> Self {
        if let Self::UnknownTool { nearest, .. } = &mut self {
            *nearest = names.into();
        }
        self
    }

    /// Makes the error of a call that a gate did not allow.
    #[must_use]
    pub fn denied(reason: DenyReason) -> Self {
        Self::Denied {
            reason,
            origin: Origin::default(),
        }
    }

    /// Makes the error of a call nested more than `limit` levels below the outermost call.
    #[must_use]
    pub fn too_deep(limit: u32) -> Self {
        Self::TooDeep {
            limit,
            origin: Origin::default(),
        }
    }

    /// Returns the kind: stable and of low cardinality.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Timeout { .. } => ErrorKind::Timeout,
            Self::Cancelled { .. } => ErrorKind::Cancelled,
            Self::RateLimited { .. } => ErrorKind::RateLimited,
            Self::Overloaded { .. } => ErrorKind::Overloaded,
            Self::CircuitOpen { .. } => ErrorKind::CircuitOpen,
            Self::Panicked { .. } => ErrorKind::Panicked,
            Self::InvalidArguments { .. } => ErrorKind::InvalidArguments,
            Self::UnknownTool { .. } => ErrorKind::UnknownTool,
            Self::Denied { .. } => ErrorKind::Denied,
            Self::TooDeep { .. } => ErrorKind::TooDeep,
            Self::Tool { .. } => ErrorKind::Tool,
        }
    }

    /// Returns the outcome of a call that returned this error.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::Timeout { .. } => Outcome::TimedOut,
            Self::Cancelled { reason, .. } => reason.outcome(),
            Self::RateLimited { .. }
            | Self::Overloaded { .. }
            | Self::CircuitOpen { .. }
            | Self::UnknownTool { .. }
            | Self::Denied { .. }
            | Self::TooDeep { .. } => Outcome::Rejected,
            Self::Panicked { .. } => Outcome::Panicked,
            Self::InvalidArguments { .. } | Self::Tool { .. } => Outcome::Failed,
        }
    }

    /// Returns the time to wait before a retry, if known.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } => Some(*retry_after),
            Self::CircuitOpen { retry_after, .. } | Self::Tool { retry_after, .. } => *retry_after,
            Self::Overloaded { reason, .. } => reason.retry_after(),
            _ => None,
        }
    }
}
