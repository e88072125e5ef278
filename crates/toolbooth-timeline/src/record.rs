use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use toolbooth_core::{CancelReason, Name, Outcome};

/// A snapshot of a recorder: the calls that it keeps.
///
/// All times are durations since the [origin](Self::origin).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Timeline {
    /// The calls in the order of their start: a call is after the one that makes it.
    pub calls: Vec<CallRecord>,
    /// When the recorder was created, by the system's clock.
    pub origin: SystemTime,
    /// When the snapshot was taken.
    pub now: Duration,
    /// How many calls the recorder keeps, of which [`calls`](Self::calls) may be a part.
    pub recorded: usize,
    /// How many calls the recorder dropped after their end, because it was full.
    pub dropped: u64,
    /// How many calls were not recorded, because the recorder was full of running calls.
    pub unrecorded: u64,
    /// Whether the recorder keeps contents.
    pub has_contents: bool,
    /// The layers and limits of a tool as text, by the name of the tool.
    pub stacks: BTreeMap<Name, Arc<str>>,
    /// The number of the last event: see [`Recorder::changes_since`](crate::Recorder::changes_since).
    pub version: u64,
}

/// What a recorder keeps of a call: all its attempts.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CallRecord {
    /// The number of the call, unique in this process.
    pub number: u64,
    /// The id of the call, which a client may have chosen.
    pub id: Name,
    /// The name of the tool.
    pub tool: Name,
    /// The tenant on whose behalf the call is made.
    pub tenant: Option<Name>,
    /// The number of the call that made this call.
    pub parent: Option<u64>,
    /// When the call entered its events layer.
    pub start: Duration,
    /// When the call ended; `None` while it runs.
    pub end: Option<Duration>,
    /// The outcome; `None` while the call runs.
    pub outcome: Option<Outcome>,
    /// The kind of the error, or the status: stable and of low cardinality.
    pub error_type: Option<Name>,
    /// The text of the error, if the recorder keeps contents.
    pub error: Option<String>,
    /// When a retry may succeed, counted from the end of the call.
    pub retry_after: Option<Duration>,
    /// When the call expires at the latest, as far as the layers outside of the events layer know.
    pub deadline: Option<Duration>,
    /// The number of attempts so far.
    pub attempts: u32,
    /// The number of items that the tool published or streamed.
    pub items: u64,
    /// The size of all items in bytes.
    pub bytes: u64,
    /// When the tool published or streamed its first item.
    pub first_item: Option<Duration>,
    /// The first items as text, if the recorder keeps contents. Without items, the contents of the
    /// response.
    pub contents: Vec<String>,
    /// Whether there were more contents than the recorder keeps of a call.
    pub contents_left_out: bool,
    /// The phases in the order of their start.
    pub phases: Vec<Phase>,
    /// The marks in the order of their time.
    pub marks: Vec<Mark>,
    /// How many phases and marks were more than the recorder keeps of a call.
    pub left_out: u64,
    /// The number of the last event of the call: see
    /// [`Recorder::changes_since`](crate::Recorder::changes_since).
    pub version: u64,
}

/// A part of the time of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Phase {
    /// What the call did.
    pub kind: PhaseKind,
    /// The layer whose queue, grace or cleanup it is.
    pub layer: Option<Name>,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// When the phase started.
    pub start: Duration,
    /// When the phase ended; `None` while it lasts.
    pub end: Option<Duration>,
}

/// What a call did in a [`Phase`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PhaseKind {
    /// It waited in the queue of a layer.
    Queue,
    /// The tool ran.
    Run,
    /// The tool ran, but published no item and no progress. Part of a [`Run`](Self::Run).
    Idle,
    /// It waited before the next attempt.
    Backoff,
    /// The tool ran after a limit had expired.
    Grace,
    /// Cleanup hooks ran.
    Cleanup,
}

/// Something that happened to a call at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mark {
    /// What happened.
    pub kind: MarkKind,
    /// When it happened.
    pub at: Duration,
}

/// What happened at a [`Mark`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MarkKind {
    /// A limit expired.
    Expired {
        /// The layer; `None` if it is outside of the events layer.
        layer: Option<Name>,
        /// The limit.
        limit: Duration,
    },
    /// The call was cancelled.
    Cancelled {
        /// The reason.
        reason: CancelReason,
    },
    /// An attempt failed, and another one follows.
    Retry {
        /// The number of the attempt that follows.
        attempt: u32,
        /// How long the retry waits, if the events layer is outside of the retry.
        after: Option<Duration>,
        /// Why the attempt failed: the `error.type`, and the layer that ended it, if one did.
        why: Option<Name>,
    },
}

// === impl Timeline ===

impl Timeline {
    /// Returns when the last recorded call or cleanup ended, at most [`now`](Self::now).
    #[must_use]
    pub fn end(&self) -> Duration {
        let ends = self.calls.iter().map(|call| call.last_at(self.now));
        ends.max().unwrap_or_default()
    }
}

// === impl CallRecord ===

impl CallRecord {
    /// Returns the outcome, such as `timed_out`, or `running`.
    #[must_use]
    pub fn outcome_text(&self) -> &'static str {
        self.outcome.map_or("running", Outcome::as_str)
    }

    /// Returns how long the call took, until `now` if it runs.
    #[must_use]
    pub fn duration(&self, now: Duration) -> Duration {
        self.end.unwrap_or(now).saturating_sub(self.start)
    }

    /// Returns how long the call waited in queues: the sum of its queue phases, until `now` if it
    /// waits.
    ///
    /// Which call waited longest, and for what:
    ///
    /// ```
    /// use toolbooth_timeline::{PhaseKind, Recorder};
    ///
    /// let timeline = Recorder::new().snapshot();
    /// let longest = timeline.calls.iter().max_by_key(|call| call.queued(timeline.now));
    /// for phase in longest.iter().flat_map(|call| &call.phases) {
    ///     if phase.kind == PhaseKind::Queue {
    ///         println!("{:?}: {:?} to {:?}", phase.layer, phase.start, phase.end);
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn queued(&self, now: Duration) -> Duration {
        let queues = self
            .phases
            .iter()
            .filter(|phase| phase.kind == PhaseKind::Queue);
        let waits = queues.map(|phase| phase.end.unwrap_or(now).saturating_sub(phase.start));
        waits.fold(Duration::ZERO, Duration::saturating_add)
    }

    /// Returns when the call or its last phase ended, at most `now`.
    #[must_use]
    pub fn last_at(&self, now: Duration) -> Duration {
        let phases = self.phases.iter().map(|phase| phase.end);
        let ends = phases.chain([self.end]).map(|end| end.unwrap_or(now));
        ends.max().unwrap_or(now)
    }
}

// === impl PhaseKind ===

impl PhaseKind {
    /// Returns the stable name: `queue`, `run`, `idle`, `backoff`, `grace` or `cleanup`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Run => "run",
            Self::Idle => "idle",
            Self::Backoff => "backoff",
            Self::Grace => "grace",
            Self::Cleanup => "cleanup",
        }
    }
}

// === impl MarkKind ===

impl MarkKind {
    /// Returns the stable name: `expired`, `cancelled` or `retry`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Expired { .. } => "expired",
            Self::Cancelled { .. } => "cancelled",
            Self::Retry { .. } => "retry",
        }
    }
}

/// What happened, such as `timeout of 3s expired` or `attempt 2 follows after 100ms (tool_error)`.
impl std::fmt::Display for MarkKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Expired { layer, limit } => match layer {
                Some(layer) => write!(f, "{layer} of {limit:?} expired"),
                None => write!(f, "limit of {limit:?} expired"),
            },
            Self::Cancelled { reason } => write!(f, "cancelled: {reason}"),
            Self::Retry {
                attempt,
                after,
                why,
            } => {
                write!(f, "attempt {attempt} follows")?;
                if let Some(after) = after {
                    write!(f, " after {after:?}")?;
                }
                why.as_ref().map_or(Ok(()), |why| write!(f, " ({why})"))
            }
        }
    }
}
