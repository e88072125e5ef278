//! A timeline as JSON in the Trace Event Format, which Perfetto opens.

mod counters;
mod event;
mod lanes;
mod slices;

use std::time::{Duration, SystemTime};

use serde::Serialize;

use self::event::TraceEvent;
use crate::record::Timeline;

/// The process of the counters.
const COUNTERS: u32 = 1;

/// What is not about one event.
#[derive(Serialize)]
struct OtherData {
    /// When the times start, in milliseconds since 1970.
    origin_unix_ms: u64,
    dropped_calls: u64,
    unrecorded_calls: u64,
}

// === impl Timeline ===

impl Timeline {
    /// Returns the timeline as JSON in the Trace Event Format. Open it in
    /// [Perfetto](https://ui.perfetto.dev), or in `chrome://tracing`.
    ///
    /// Each tool is a process, whose tracks have the calls as slices. Phases are slices inside of
    /// their call, except cleanup, which follows it. A call that another call made is a slice
    /// inside of that call; of concurrent ones, each has a track of its own. Marks are instants.
    /// Counters have the calls in flight, and the depth of each layer's queue.
    ///
    /// Times are microseconds since the [origin](Self::origin). A call that runs ends now. The JSON
    /// has no `<`, so that a page can embed it.
    #[must_use]
    pub fn to_trace_json(&self) -> String {
        let mut json = String::from("{\"displayTimeUnit\":\"ms\",\"otherData\":");
        push(&mut json, &self.other_data());
        json.push_str(",\"traceEvents\":[");
        let mut events = slices::events(self);
        events.extend(counters::events(self));
        // Stable, so that an outer slice stays before an inner one.
        events.sort_by_key(TraceEvent::order);
        for (index, event) in events.iter().enumerate() {
            json.push_str(match index {
                0 => "\n",
                _ => ",\n",
            });
            push(&mut json, event);
        }
        json.push_str("\n]}\n");
        json
    }

    fn other_data(&self) -> OtherData {
        let since = self.origin.duration_since(SystemTime::UNIX_EPOCH);
        let millis = since.unwrap_or_default().as_millis();
        OtherData {
            origin_unix_ms: u64::try_from(millis).unwrap_or(u64::MAX),
            dropped_calls: self.dropped,
            unrecorded_calls: self.unrecorded,
        }
    }
}

/// Appends a value. In JSON, `<` and U+2028 are in strings alone.
fn push(json: &mut String, value: &impl Serialize) {
    let text = serde_json::to_string(value).expect("it has text keys, and writes to memory");
    for char in text.chars() {
        match char {
            '<' | '\u{2028}' | '\u{2029}' => {
                json.push_str(&format!("\\u{:04x}", u32::from(char)));
            }
            char => json.push(char),
        }
    }
}

/// Returns whole microseconds, so that no viewer rounds a slice out of the one around it.
fn micros(at: Duration) -> u64 {
    u64::try_from(at.as_micros()).unwrap_or(u64::MAX)
}
