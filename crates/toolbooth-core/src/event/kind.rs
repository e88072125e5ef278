use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::call::{Name, Progress};
use crate::error::{ErrorKind, LayerName, ToolError};
use crate::outcome::{CancelReason, Outcome};
use crate::response::Content;

/// What happened.
///
/// Each pass of a call through an events layer has one [`Invoked`](Self::Invoked), and one terminal
/// event: [`Completed`](Self::Completed), [`Failed`](Self::Failed), [`TimedOut`](Self::TimedOut),
/// [`Cancelled`](Self::Cancelled), [`Rejected`](Self::Rejected) or [`Panicked`](Self::Panicked).
/// Cleanup events may follow it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum EventKind {
    /// The call entered the events layer.
    Invoked {
        /// The tenant on whose behalf the call is made.
        tenant: Option<Name>,
        /// The id of the call that made this call.
        parent: Option<Name>,
        /// The [number](super::Event::serial) of the call that made this call.
        parent_serial: Option<u64>,
        /// When the call expires at the latest, as far as the layers outside know.
        deadline: Option<Instant>,
        /// The arguments, if the events layer delivers contents.
        arguments: Option<Arc<Value>>,
    },
    /// The call waits in the queue of this layer.
    ///
    /// A call that need not wait has neither this event nor [`Admitted`](Self::Admitted), and one
    /// that is rejected when it arrives has none either. A call that ends while it waits has no
    /// `Admitted`.
    Queued {
        /// The layer.
        layer: LayerName,
    },
    /// The layer granted a call that waited in its queue.
    Admitted {
        /// The layer.
        layer: LayerName,
        /// How long the call waited, since its [`Queued`](Self::Queued).
        waited: Duration,
    },
    /// The tool was called.
    Started,
    /// The tool published or streamed its first item.
    FirstItem,
    /// The tool published or streamed an item, or a snapshot of its whole result.
    Partial {
        /// The size of the item in bytes.
        bytes: usize,
        /// The item, if the events layer delivers contents.
        content: Option<Arc<Content>>,
    },
    /// The tool reported progress.
    Progress(Progress),
    /// The tool signalled activity.
    Heartbeat,
    /// An attempt failed, and another one follows after a wait.
    Retry {
        /// The number of the attempt that follows, which is also that of the event.
        attempt: u32,
        /// How long the retry waits.
        after: Duration,
        /// The error of the attempt that failed; `None` if its response failed.
        error: Option<ErrorKind>,
        /// The layer that rejected the attempt that failed, or whose limit expired.
        layer: Option<LayerName>,
        /// The `error.type` of the attempt that failed: the kind of its error, or the status of its
        /// response. `None` for a response that reports no failure, but was selected for a retry.
        error_type: Option<Name>,
    },
    /// A time limit expired, and the tool may finish within a grace period. Without one, the call
    /// ends at once.
    Expired {
        /// The layer whose limit expired.
        layer: LayerName,
        /// The limit.
        limit: Duration,
    },
    /// The response was delivered to its last byte.
    Completed {
        /// Whether the response of the tool reports a failure.
        is_error: bool,
        /// The contents of a buffered response, if the events layer delivers contents.
        contents: Option<Arc<[Content]>>,
    },
    /// The call failed.
    Failed {
        /// The error; `None` for a response of HTTP or gRPC whose status is a failure.
        error: Option<ToolError>,
        /// The kind of the error, or the status: stable and of low cardinality.
        error_type: Name,
    },
    /// A time limit expired.
    TimedOut {
        /// The layer whose limit expired; `None` for a timeout that no layer of this library made.
        layer: Option<LayerName>,
        /// The limit.
        limit: Duration,
        /// How long after the expiry of the limit the call ended; `None` if it is not known.
        overshoot: Option<Duration>,
        /// Whether the tool had been called.
        started: bool,
        /// The error; `None` if a layer outside ended the call.
        error: Option<ToolError>,
    },
    /// The call was cancelled, or dropped.
    Cancelled {
        /// The reason. [`CancelReason::Timeout`] if a limit expired that is not known here: the
        /// outcome is then [`Outcome::TimedOut`].
        reason: CancelReason,
        /// Whether the tool had been called.
        started: bool,
        /// The error; `None` if the call was dropped.
        error: Option<ToolError>,
    },
    /// A layer rejected the call, and the tool was not called. Or the tool itself rejected it.
    Rejected {
        /// The layer; `None` if the tool rejected the call.
        layer: Option<LayerName>,
        /// Why.
        why: ErrorKind,
        /// When a retry may succeed.
        retry_after: Option<Duration>,
        /// The error.
        error: ToolError,
    },
    /// The tool panicked.
    Panicked {
        /// The error, if a layer caught the panic.
        error: Option<ToolError>,
    },
    /// The cleanup hooks of the call start, after its tasks have ended.
    ///
    /// They are those of this call. For a retry without a cleanup layer inside, the hooks of all
    /// attempts run at the end of the call. Each sink around the call receives the cleanup events.
    CleanupStarted {
        /// How many hooks there are.
        hooks: usize,
    },
    /// A cleanup hook completed.
    CleanupFinished {
        /// How long it took.
        took: Duration,
    },
    /// A cleanup hook panicked, or reached its limit.
    CleanupFailed {
        /// How long it took.
        took: Duration,
        /// Whether it panicked. Otherwise it reached its limit.
        panicked: bool,
    },
    /// Cleanup hooks did not run, or were cancelled.
    CleanupAbandoned {
        /// How many.
        hooks: usize,
    },
    /// A circuit breaker changed its state.
    BreakerChanged {
        /// The layer.
        layer: LayerName,
        /// The key, if the breaker has keys.
        key: Option<Name>,
        /// The state before: `closed`, `open`, `half_open` or `disabled`.
        from: &'static str,
        /// The new state.
        to: &'static str,
        /// Why it changed: stable and of low cardinality.
        ///
        /// It opens by `failures` in a row, `failure_rate`, `slow_calls`, `cool_down`,
        /// `probe_failed` or `probe_expired`. It is half-open by `open_time`, with the first call
        /// after that time. It closes by `probes_succeeded`, or by a change of its `policy`. That
        /// of a key closes as `forgotten` when the layer forgets the key.
        /// Everything `by_hand` is possible in each state.
        why: Name,
    },
    /// The limit of a layer changed.
    LimitChanged {
        /// The layer.
        layer: LayerName,
        /// The change.
        change: LimitChange,
    },
}

/// A change of a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitChange {
    /// The limit was set.
    Set {
        /// The tool or the key whose limit it is; `None` for all without a limit of their own.
        key: Option<Name>,
        /// The new limit as text, such as `3 at once`; `None` for no limit.
        limit: Option<Name>,
    },
    /// A setting of the queues was set.
    Queue {
        /// The setting: `queue_capacity`, `max_wait`, `order` or `service_time`.
        setting: &'static str,
        /// The new value as text, such as `64`, `5s` or `priority`; `None` for none.
        value: Option<Name>,
    },
    /// The table of keys is full: new keys share one limit until others are at rest.
    Overflow {
        /// The maximum number of keys.
        keys: usize,
    },
    /// The store of limits that several processes share does not answer.
    StoreLost {
        /// What holds meanwhile: `local`, `closed` or `open`.
        when_away: &'static str,
    },
    /// The store of shared limits answers again.
    StoreFound,
}

// === impl EventKind ===

impl EventKind {
    /// Returns the stable name, such as `tool.invoked`, `tool.timed_out` or `cleanup.started`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Invoked { .. } => "tool.invoked",
            Self::Queued { .. } => "tool.queued",
            Self::Admitted { .. } => "tool.admitted",
            Self::Started => "tool.started",
            Self::FirstItem => "tool.first_item",
            Self::Partial { .. } => "tool.partial",
            Self::Progress(_) => "tool.progress",
            Self::Heartbeat => "tool.heartbeat",
            Self::Retry { .. } => "tool.retry",
            Self::Expired { .. } => "tool.expired",
            Self::Completed { .. } => "tool.completed",
            Self::Failed { .. } => "tool.failed",
            Self::TimedOut { .. } => "tool.timed_out",
            Self::Cancelled { .. } => "tool.cancelled",
            Self::Rejected { .. } => "tool.rejected",
            Self::Panicked { .. } => "tool.panicked",
            Self::CleanupStarted { .. } => "cleanup.started",
            Self::CleanupFinished { .. } => "cleanup.finished",
            Self::CleanupFailed { .. } => "cleanup.failed",
            Self::CleanupAbandoned { .. } => "cleanup.abandoned",
            Self::BreakerChanged { .. } => "breaker.changed",
            Self::LimitChanged { .. } => "limit.changed",
        }
    }

    /// Returns the outcome that a terminal event stands for; `None` for other events.
    #[must_use]
    pub const fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::Completed { .. } => Some(Outcome::Completed),
            Self::Failed { .. } => Some(Outcome::Failed),
            Self::TimedOut { .. } => Some(Outcome::TimedOut),
            Self::Cancelled { reason, .. } => Some(reason.outcome()),
            Self::Rejected { .. } => Some(Outcome::Rejected),
            Self::Panicked { .. } => Some(Outcome::Panicked),
            _ => None,
        }
    }

    /// Returns whether this is the last event of a call in an events layer, but for its cleanup.
    #[must_use]
    pub const fn is_terminal(&self) -> bool {
        self.outcome().is_some()
    }

    /// Returns the error of a terminal event, if there is one.
    #[must_use]
    pub const fn error(&self) -> Option<&ToolError> {
        match self {
            Self::Failed { error, .. }
            | Self::TimedOut { error, .. }
            | Self::Cancelled { error, .. }
            | Self::Panicked { error } => error.as_ref(),
            Self::Rejected { error, .. } => Some(error),
            _ => None,
        }
    }

    /// Returns the `error.type` of OpenTelemetry: the [kind](ErrorKind) of the error of a terminal
    /// event, or the status of a response. `None` for a success and for other events.
    #[must_use]
    pub fn error_type(&self) -> Option<&str> {
        match self {
            Self::Completed { is_error: true, .. } => Some(ErrorKind::Tool.as_str()),
            Self::Failed { error_type, .. } => Some(error_type),
            Self::TimedOut { .. } => Some(ErrorKind::Timeout.as_str()),
            Self::Cancelled { reason, .. } => Some(match reason {
                CancelReason::Timeout => ErrorKind::Timeout.as_str(),
                _ => ErrorKind::Cancelled.as_str(),
            }),
            Self::Rejected { why, .. } => Some(why.as_str()),
            Self::Panicked { .. } => Some(ErrorKind::Panicked.as_str()),
            _ => None,
        }
    }

    /// Returns the terminal event of a call that ends with this error, and was not cancelled.
    pub(crate) fn of_error(error: &ToolError) -> Self {
        let owned = error.clone();
        match (error, error.outcome()) {
            (ToolError::Timeout { limit, .. }, _) => Self::TimedOut {
                layer: error.layer_name().cloned(),
                limit: *limit,
                overshoot: error.overshoot(),
                started: error.started(),
                error: Some(owned),
            },
            (_, Outcome::Rejected) => Self::Rejected {
                layer: error.layer_name().cloned(),
                why: error.kind(),
                retry_after: error.retry_after(),
                error: owned,
            },
            (_, Outcome::Panicked) => Self::Panicked { error: Some(owned) },
            _ => Self::Failed {
                error: Some(owned),
                error_type: Name::from_static(error.kind().as_str()),
            },
        }
    }
}
