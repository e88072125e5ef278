//! The feed of the page: a timeline as JSON.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;
use serde::ser::{SerializeTuple, Serializer};

use crate::{CallRecord, Mark, Phase, Timeline};

/// The timeline. Times are milliseconds since the origin.
#[derive(Serialize)]
struct Feed<'a> {
    origin_unix_ms: f64,
    now: f64,
    recorded: usize,
    dropped: u64,
    unrecorded: u64,
    contents: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    stacks: BTreeMap<&'a str, &'a str>,
    version: u64,
    calls: Vec<Call<'a>>,
}

#[derive(Serialize)]
struct Call<'a> {
    n: u64,
    id: &'a str,
    tool: &'a str,
    tenant: Option<&'a str>,
    parent: Option<u64>,
    start: f64,
    end: Option<f64>,
    outcome: &'static str,
    error_type: Option<&'a str>,
    error: Option<&'a str>,
    retry_after_ms: Option<f64>,
    deadline: Option<f64>,
    attempts: u32,
    items: u64,
    bytes: u64,
    first_item: Option<f64>,
    partial: &'a [String],
    partial_left_out: bool,
    phases: Vec<PhaseItem<'a>>,
    marks: Vec<MarkItem<'a>>,
    left_out: u64,
}

/// A phase as `[kind, start, end, layer, attempt]`.
struct PhaseItem<'a>(&'a Phase);

/// A mark as `[kind, time, text]`.
struct MarkItem<'a>(&'a Mark);

// === impl Timeline ===

impl Timeline {
    /// Returns the timeline as JSON, in the form of the page's feed.
    ///
    /// Times are milliseconds since the origin, which is `origin_unix_ms`. For changes alone, take
    /// [`Recorder::changes_since`](crate::Recorder::changes_since): a call of the increment
    /// replaces the call with the same number `n`.
    ///
    /// ```
    /// let timeline = toolbooth_timeline::Recorder::new().snapshot();
    /// let feed: serde_json::Value = serde_json::from_str(&timeline.to_json())?;
    /// assert_eq!(feed["calls"], serde_json::json!([]));
    /// # Ok::<_, serde_json::Error>(())
    /// ```
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "the one `expect` cannot fail")]
    pub fn to_json(&self) -> String {
        let origin = self.origin.duration_since(UNIX_EPOCH).unwrap_or_default();
        let stacks = self.stacks.iter();
        let feed = Feed {
            origin_unix_ms: milliseconds(origin),
            now: milliseconds(self.now),
            recorded: self.recorded,
            dropped: self.dropped,
            unrecorded: self.unrecorded,
            contents: self.has_contents,
            stacks: stacks.map(|(tool, text)| (&**tool, &**text)).collect(),
            version: self.version,
            calls: self.calls.iter().map(Call::new).collect(),
        };
        serde_json::to_string(&feed).expect("names and numbers can be written as JSON")
    }
}

// === impl Call ===

impl<'a> Call<'a> {
    fn new(call: &'a CallRecord) -> Self {
        Self {
            n: call.number,
            id: &call.id,
            tool: &call.tool,
            tenant: call.tenant.as_deref(),
            parent: call.parent,
            start: milliseconds(call.start),
            end: call.end.map(milliseconds),
            outcome: call.outcome_text(),
            error_type: call.error_type.as_deref(),
            error: call.error.as_deref(),
            retry_after_ms: call.retry_after.map(milliseconds),
            deadline: call.deadline.map(milliseconds),
            attempts: call.attempts,
            items: call.items,
            bytes: call.bytes,
            first_item: call.first_item.map(milliseconds),
            partial: &call.contents,
            partial_left_out: call.contents_left_out,
            phases: call.phases.iter().map(PhaseItem).collect(),
            marks: call.marks.iter().map(MarkItem).collect(),
            left_out: call.left_out,
        }
    }
}

// === impl PhaseItem ===

impl Serialize for PhaseItem<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let phase = self.0;
        let mut tuple = serializer.serialize_tuple(5)?;
        tuple.serialize_element(phase.kind.as_str())?;
        tuple.serialize_element(&milliseconds(phase.start))?;
        tuple.serialize_element(&phase.end.map(milliseconds))?;
        tuple.serialize_element(&phase.layer.as_deref())?;
        tuple.serialize_element(&phase.attempt)?;
        tuple.end()
    }
}

// === impl MarkItem ===

impl Serialize for MarkItem<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mark = self.0;
        let mut tuple = serializer.serialize_tuple(3)?;
        tuple.serialize_element(mark.kind.as_str())?;
        tuple.serialize_element(&milliseconds(mark.at))?;
        tuple.serialize_element(&mark.kind.to_string())?;
        tuple.end()
    }
}

/// Returns the duration in milliseconds, with three digits after the point.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
