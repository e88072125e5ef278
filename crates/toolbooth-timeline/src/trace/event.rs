//! The events of the Trace Event Format.

use std::collections::BTreeMap;

use serde::Serialize;

use super::COUNTERS;
use crate::escape::{printable, printable_lines};
use crate::record::{CallRecord, Timeline};

/// One event. Its `ph` is its kind.
#[derive(Serialize)]
pub(super) struct TraceEvent {
    ph: Kind,
    pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    tid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<u64>,
    /// The scope of an instant: `t` for its track.
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<&'static str>,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cat: Option<&'static str>,
    #[serde(skip_serializing_if = "Args::is_none")]
    args: Args,
}

#[derive(Serialize)]
enum Kind {
    /// A slice with its length.
    #[serde(rename = "X")]
    Complete,
    #[serde(rename = "i")]
    Instant,
    #[serde(rename = "C")]
    Counter,
    #[serde(rename = "M")]
    Metadata,
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Args {
    None,
    Name { name: String },
    SortIndex { sort_index: u32 },
    Counts(BTreeMap<String, u64>),
    Call(Box<CallArgs>),
    Phase { attempt: u32 },
}

/// The details of a call. Times are in milliseconds.
#[derive(Serialize)]
pub(super) struct CallArgs {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline_ms: Option<u64>,
    attempts: u32,
    #[serde(skip_serializing_if = "is_zero")]
    items: u64,
    #[serde(skip_serializing_if = "is_zero")]
    bytes: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    contents: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stack: Option<String>,
}

/// The process and the thread of an event.
#[derive(Clone, Copy)]
pub(super) struct Track {
    pub(super) pid: u32,
    pub(super) tid: u32,
}

// === impl TraceEvent ===

impl TraceEvent {
    pub(super) fn slice(
        track: Track,
        (start, end): (u64, u64),
        name: String,
        cat: &'static str,
        args: Args,
    ) -> Self {
        Self {
            ts: Some(start),
            dur: Some(end - start),
            cat: Some(cat),
            args,
            ..Self::on_track(Kind::Complete, track, name)
        }
    }

    pub(super) fn instant(track: Track, at: u64, name: String) -> Self {
        Self {
            ts: Some(at),
            s: Some("t"),
            cat: Some("mark"),
            ..Self::on_track(Kind::Instant, track, name)
        }
    }

    pub(super) fn counter(at: u64, name: &str, counts: BTreeMap<String, u64>) -> Self {
        Self {
            ts: Some(at),
            args: Args::Counts(counts),
            ..Self::of_process(Kind::Counter, COUNTERS, name.to_owned())
        }
    }

    /// Returns the events that name a process, and set its place among the others.
    pub(super) fn process(pid: u32, name: String) -> [Self; 2] {
        [
            Self {
                args: Args::Name { name },
                ..Self::of_process(Kind::Metadata, pid, "process_name".to_owned())
            },
            Self {
                args: Args::SortIndex { sort_index: pid },
                ..Self::of_process(Kind::Metadata, pid, "process_sort_index".to_owned())
            },
        ]
    }

    /// Returns the events that name a track, and set its place among the others.
    pub(super) fn thread(track: Track, name: String) -> [Self; 2] {
        [
            Self {
                args: Args::Name { name },
                ..Self::on_track(Kind::Metadata, track, "thread_name".to_owned())
            },
            Self {
                args: Args::SortIndex {
                    sort_index: track.tid,
                },
                ..Self::on_track(Kind::Metadata, track, "thread_sort_index".to_owned())
            },
        ]
    }

    fn on_track(ph: Kind, track: Track, name: String) -> Self {
        Self {
            tid: Some(track.tid),
            ..Self::of_process(ph, track.pid, name)
        }
    }

    const fn of_process(ph: Kind, pid: u32, name: String) -> Self {
        Self {
            ph,
            pid,
            tid: None,
            ts: None,
            dur: None,
            s: None,
            name,
            cat: None,
            args: Args::None,
        }
    }
}

// === impl Args ===

impl Args {
    pub(super) fn of_call(call: &CallRecord, timeline: &Timeline) -> Self {
        let text = |text: &str| printable(text).into_owned();
        let lines = |text: &str| printable_lines(text).into_owned();
        let millis = |time: std::time::Duration| super::micros(time) / 1_000;
        Self::Call(Box::new(CallArgs {
            id: text(&call.id),
            tenant: call.tenant.as_deref().map(text),
            outcome: call.outcome_text(),
            error_type: call.error_type.as_deref().map(text),
            error: call.error.as_deref().map(lines),
            retry_after_ms: call.retry_after.map(millis),
            deadline_ms: call.deadline.map(millis),
            attempts: call.attempts,
            items: call.items,
            bytes: call.bytes,
            contents: call.contents.iter().map(|content| lines(content)).collect(),
            stack: timeline.stacks.get(&*call.tool).map(|stack| lines(stack)),
        }))
    }

    const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl TraceEvent {
    /// Returns the time by which events are sorted: metadata come first.
    pub(super) const fn order(&self) -> Option<u64> {
        self.ts
    }
}
