//! Names, labels and descriptions of the metrics.

use ::metrics::{Recorder, Unit};

/// The histogram of the durations of calls in seconds, by OpenTelemetry's conventions.
pub const EXECUTE_TOOL_DURATION: &str = "gen_ai.execute_tool.duration";

/// The histogram of the waits in queues in seconds.
pub const QUEUE_WAIT: &str = "toolbooth.queue.wait";

/// The histogram of the times in seconds from the expiry of a limit to the end of its call.
pub const LIMIT_OVERSHOOT: &str = "toolbooth.limit.overshoot";

/// The histogram of the durations of cleanup hooks in seconds.
pub const CLEANUP_DURATION: &str = "toolbooth.cleanup.duration";

/// The buckets of [`EXECUTE_TOOL_DURATION`] by OpenTelemetry's conventions: from 10 ms to 82 s,
/// each the double of the one before. They fit the other histograms, too.
///
/// An exporter sets the buckets of a histogram, not the program that records it.
pub const DURATION_BUCKETS: [f64; 14] = [
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
];

pub(super) const INVOKED: &str = "toolbooth.calls.invoked";
pub(super) const STARTED: &str = "toolbooth.calls.started";
pub(super) const ENDED: &str = "toolbooth.calls.ended";
pub(super) const IN_FLIGHT: &str = "toolbooth.calls.in_flight";
pub(super) const ATTEMPTS: &str = "toolbooth.calls.attempts";
pub(super) const RETRIES: &str = "toolbooth.calls.retries";
pub(super) const QUEUED: &str = "toolbooth.queue.length";
pub(super) const PARTIAL_ITEMS: &str = "toolbooth.partial.items";
pub(super) const PARTIAL_BYTES: &str = "toolbooth.partial.bytes";
pub(super) const CLEANUP_ABANDONED: &str = "toolbooth.cleanup.abandoned";
pub(super) const BREAKER_STATE: &str = "toolbooth.breaker.state";
pub(super) const KEY_OVERFLOWS: &str = "toolbooth.limit.key_overflows";
pub(super) const DROPPED: &str = "toolbooth.events.dropped";

/// The name of the tool, by OpenTelemetry's conventions.
pub(super) const TOOL: &str = "gen_ai.tool.name";
/// The kind of an error, by OpenTelemetry's conventions. Absent from what did not fail.
pub(super) const ERROR_TYPE: &str = "error.type";
pub(super) const OUTCOME: &str = "toolbooth.outcome";
pub(super) const RESULT: &str = "toolbooth.result";
pub(super) const LAYER: &str = "toolbooth.layer.name";
pub(super) const LAYER_KIND: &str = "toolbooth.layer.kind";
pub(super) const STATE: &str = "toolbooth.breaker.state";
pub(super) const CHANNEL: &str = "toolbooth.channel.name";

/// The label value of all names beyond the bound, and of names that are not known to be a tool's.
pub(super) const OTHER: &str = "other";

const COUNTERS: [(&str, Unit, &str); 9] = [
    (INVOKED, Unit::Count, "Calls that entered an events layer"),
    (STARTED, Unit::Count, "Calls whose tool was called"),
    (ENDED, Unit::Count, "Calls that ended, by outcome"),
    (ATTEMPTS, Unit::Count, "Attempts that called the tool"),
    (RETRIES, Unit::Count, "Attempts that follow a failed one"),
    (
        PARTIAL_ITEMS,
        Unit::Count,
        "Items that tools published or streamed",
    ),
    (
        PARTIAL_BYTES,
        Unit::Bytes,
        "Bytes that tools published or streamed",
    ),
    (
        CLEANUP_ABANDONED,
        Unit::Count,
        "Cleanup hooks that did not run to their end",
    ),
    (
        KEY_OVERFLOWS,
        Unit::Count,
        "How often a full table of keys made new keys share a limit",
    ),
];

const GAUGES: [(&str, &str); 3] = [
    (
        IN_FLIGHT,
        "Calls between the start of their tool and their end",
    ),
    (QUEUED, "Calls that wait in the queue of a layer"),
    (
        BREAKER_STATE,
        "Whether a circuit breaker is in a state; of a breaker with keys, how many are",
    ),
];

const HISTOGRAMS: [(&str, &str); 4] = [
    (EXECUTE_TOOL_DURATION, "Duration of tool calls"),
    (QUEUE_WAIT, "Waits of calls in the queue of a layer"),
    (
        LIMIT_OVERSHOOT,
        "Time from the expiry of a limit to the end of its call",
    ),
    (CLEANUP_DURATION, "Duration of cleanup hooks"),
];

/// Describes all metrics of a sink.
pub(super) fn describe(recorder: &dyn Recorder) {
    for (name, unit, text) in COUNTERS {
        recorder.describe_counter(name.into(), Some(unit), text.into());
    }
    for (name, text) in GAUGES {
        recorder.describe_gauge(name.into(), Some(Unit::Count), text.into());
    }
    for (name, text) in HISTOGRAMS {
        recorder.describe_histogram(name.into(), Some(Unit::Seconds), text.into());
    }
}

/// Describes the metric of a channel.
pub(super) fn describe_dropped(recorder: &dyn Recorder) {
    let text = "Events that a full channel dropped";
    recorder.describe_counter(DROPPED.into(), Some(Unit::Count), text.into());
}
