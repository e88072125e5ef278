//! The one error of all layers, and what it answers: what happened, whether and when to try again,
//! whose call it was, and what the call had produced by then.

mod convert;
#[cfg(feature = "http")]
mod http;
mod kind;
mod origin;
mod source;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

pub use kind::{ErrorKind, OverloadReason, TimeoutScope};
pub use origin::Origin;
pub use source::Source;

use crate::call::Name;
use crate::outcome::{CancelReason, Outcome};

/// Any error, boxed: what tower's own layers return.
pub type BoxError = tower::BoxError;

/// Why a tool call did not complete. Every layer returns this one type, so that reordering layers
/// changes no signature.
///
/// It is cheap to clone and small (sources and partial results are shared), and is found again by
/// downcast wherever it was boxed. Match on the variants for their details, on [`kind`](Self::kind)
/// for a stable, low-cardinality name.
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
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ToolError {
    /// A time limit struck.
    #[error("timed out after {:?} ({scope} limit of {limit:?})", millis(*.elapsed))]
    #[non_exhaustive]
    Timeout {
        /// Which limit it was.
        scope: TimeoutScope,
        /// The length of that limit: for a deadline, how much time it left when the call started.
        limit: Duration,
        /// How long the call had run, from the outermost layer on.
        elapsed: Duration,
        /// What the tool failed with in the time that it had to finish by itself.
        source: Option<Source>,
        /// Whose call it was, and what it had produced.
        origin: Origin,
    },
    /// The call was cut short from outside.
    #[error("cancelled: {reason}")]
    #[non_exhaustive]
    Cancelled {
        /// By what.
        reason: CancelReason,
        /// Whose call it was, and what it had produced.
        origin: Origin,
    },
    /// A rate limit refused the call; it did not run, and took no token.
    #[error("rate limited, a token is free in {:?}", millis_up(*.retry_after))]
    #[non_exhaustive]
    RateLimited {
        /// After how long a token would be free for this call.
        retry_after: Duration,
        /// Whose call it was.
        origin: Origin,
    },
    /// A concurrency limit or a waiting line refused the call; it did not run.
    #[error("overloaded: {reason}")]
    #[non_exhaustive]
    Overloaded {
        /// What was full.
        reason: OverloadReason,
        /// Whose call it was.
        origin: Origin,
    },
    /// A circuit breaker refused the call, since its tool has failed too often; it did not run.
    #[error("the circuit is open, {}", next_probe(*.retry_after))]
    #[non_exhaustive]
    CircuitOpen {
        /// After how long a call is let through again; `None` where that depends on a probe that is under way, or on whoever opened the circuit.
        retry_after: Option<Duration>,
        /// Whose call it was.
        origin: Origin,
    },
    /// The tool panicked where its panic could not reach the caller.
    #[error("the tool panicked: {message}")]
    #[non_exhaustive]
    Panicked {
        /// What the panic said.
        message: Arc<str>,
        /// Whose call it was, and what it had produced.
        origin: Origin,
    },
    /// The arguments do not fit the tool; it did not run.
    #[error("invalid arguments at `{path}`: {message}")]
    #[non_exhaustive]
    InvalidArguments {
        /// Where in the arguments: `filter.tags[2]`, or `.` for the whole.
        path: Arc<str>,
        /// What is wrong there.
        message: Arc<str>,
        /// Whose call it was.
        origin: Origin,
    },
    /// Nobody knows a tool of this name; nothing ran.
    #[error("there is no tool named `{name}`")]
    #[non_exhaustive]
    UnknownTool {
        /// The name that was asked for.
        name: Name,
        /// Whose call it was.
        origin: Origin,
    },
    /// The call would stand below too many others that made one another; nothing ran.
    #[error("nested too deep: at most {limit} calls may stand below the first")]
    #[non_exhaustive]
    TooDeep {
        /// How many may.
        limit: u32,
        /// Whose call it was.
        origin: Origin,
    },
    /// The tool itself failed: its own error is the source.
    #[error("the tool failed")]
    #[non_exhaustive]
    Tool {
        /// What the tool returned.
        source: Source,
        /// Whether the tool said that another try may help.
        retryable: bool,
        /// Whose call it was, and what it had produced.
        origin: Origin,
    },
}

// === impl ToolError ===

impl ToolError {
    /// A failure of the tool itself. An error that is a `ToolError` already stays what it is.
    #[must_use]
    pub fn failed(error: impl Into<BoxError>) -> Self {
        Self::from(error.into())
    }

    /// A time limit that struck: for authors of layers.
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

    /// For timeout layers: what the tool failed with in the time that it had to finish by itself becomes the
    /// [source](std::error::Error::source) of the timeout. Other kinds stay as they are.
    #[must_use]
    pub fn with_late(mut self, late: Self) -> Self {
        if let Self::Timeout { source, .. } = &mut self {
            *source = Some(Source::of(late));
        }
        self
    }

    /// A call cut short from outside: for a tool that sees its call cancelled and stops.
    #[must_use]
    pub fn cancelled(reason: CancelReason) -> Self {
        Self::Cancelled {
            reason,
            origin: Origin::default(),
        }
    }

    /// A refusal by a rate limit, with the time until it would not refuse.
    #[must_use]
    pub fn rate_limited(retry_after: Duration) -> Self {
        Self::RateLimited {
            retry_after,
            origin: Origin::default(),
        }
    }

    /// A refusal by a limit that is full.
    #[must_use]
    pub fn overloaded(reason: OverloadReason) -> Self {
        Self::Overloaded {
            reason,
            origin: Origin::default(),
        }
    }

    /// A refusal by a circuit breaker, with the time until it lets a call through, where that is known.
    #[must_use]
    pub fn circuit_open(retry_after: impl Into<Option<Duration>>) -> Self {
        Self::CircuitOpen {
            retry_after: retry_after.into(),
            origin: Origin::default(),
        }
    }

    /// A panic of the tool, with what it said.
    #[must_use]
    pub fn panicked(message: impl Into<Arc<str>>) -> Self {
        Self::Panicked {
            message: message.into(),
            origin: Origin::default(),
        }
    }

    /// The panic that [`catch_unwind`](std::panic::catch_unwind) or a task gave: for authors of layers.
    #[must_use]
    pub fn from_panic(panic: &(dyn Any + Send)) -> Self {
        Self::panicked(match panic.downcast_ref::<String>() {
            Some(text) => text,
            None => panic
                .downcast_ref::<&str>()
                .copied()
                .unwrap_or("not a text"),
        })
    }

    /// Arguments that do not fit: where, and why.
    #[must_use]
    pub fn invalid_arguments(path: impl Into<Arc<str>>, message: impl Into<Arc<str>>) -> Self {
        Self::InvalidArguments {
            path: path.into(),
            message: message.into(),
            origin: Origin::default(),
        }
    }

    /// A name that no tool has.
    #[must_use]
    pub fn unknown_tool(name: impl Into<Name>) -> Self {
        Self::UnknownTool {
            name: name.into(),
            origin: Origin::default(),
        }
    }

    /// A nested call that would stand below so many others.
    #[must_use]
    pub fn too_deep(limit: u32) -> Self {
        Self::TooDeep {
            limit,
            origin: Origin::default(),
        }
    }

    /// Says of a failure of the tool whether another try may help. Of the other kinds it is known,
    /// and this changes nothing.
    #[must_use]
    pub fn with_retryable(mut self, may_help: bool) -> Self {
        if let Self::Tool { retryable, .. } = &mut self {
            *retryable = may_help;
        }
        self
    }

    /// What kind of error it is: stable, and of few values.
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
            Self::TooDeep { .. } => ErrorKind::TooDeep,
            Self::Tool { .. } => ErrorKind::Tool,
        }
    }

    /// How a call that ends with this error ended.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::Timeout { .. } => Outcome::TimedOut,
            Self::Cancelled { reason, .. } => reason.outcome(),
            Self::RateLimited { .. }
            | Self::Overloaded { .. }
            | Self::CircuitOpen { .. }
            | Self::UnknownTool { .. }
            | Self::TooDeep { .. } => Outcome::Rejected,
            Self::Panicked { .. } => Outcome::Panicked,
            Self::InvalidArguments { .. } | Self::Tool { .. } => Outcome::Failed,
        }
    }

    /// After how long to try again, where that is known.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } => Some(*retry_after),
            Self::CircuitOpen { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether the same call may succeed later: a timeout and the refusals of limits, and a failure of which the tool said so.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Timeout { .. } | Self::RateLimited { .. } | Self::CircuitOpen { .. } => true,
            Self::Overloaded { reason, .. } => reason.is_retryable(),
            Self::Tool { retryable, .. } => *retryable,
            _ => false,
        }
    }
}

/// For people: to the millisecond, which is what timers can tell, unless there is less than one.
fn millis(duration: Duration) -> Duration {
    match duration.as_millis() {
        0 => duration,
        _ => Duration::new(duration.as_secs(), duration.subsec_millis() * 1_000_000),
    }
}

fn next_probe(retry_after: Option<Duration>) -> String {
    match retry_after {
        Some(retry_after) => format!("a call is let through in {:?}", millis_up(retry_after)),
        None => "and it is not known when a call is let through".to_owned(),
    }
}

/// The same for a time to wait, which must not come out too short.
fn millis_up(duration: Duration) -> Duration {
    millis(duration.saturating_add(Duration::from_nanos(999_999)))
}
