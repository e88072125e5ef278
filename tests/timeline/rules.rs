//! The rules of the Trace Event Format, as Perfetto applies them.

#![expect(clippy::panic, reason = "a helper of a test fails the test")]

use std::collections::{HashMap, HashSet};

use super::*;

/// A slice on a track: its start, and its end.
type Slice = (u64, u64);

/// Asserts that a viewer shows each event of a trace.
///
/// The format is described in "Trace Event Format" by the authors of Chrome's trace viewer, whose
/// JSON Perfetto imports. It drops slices that overlap on a track and are not nested.
#[track_caller]
pub(super) fn assert_trace(text: &str) {
    let trace: Value = serde_json::from_str(text).expect("JSON");
    let events = trace["traceEvents"].as_array().expect("a list of events");
    let mut open: HashMap<(u64, u64), Vec<Slice>> = HashMap::new();
    let (mut named, mut used) = (HashSet::new(), HashSet::new());
    let mut last = 0;
    for event in events {
        let pid = number(event, "pid");
        assert!(!event["name"].as_str().expect("a name").is_empty());
        if event["ph"] == "M" {
            let tid = event.get("tid").map(|_| number(event, "tid"));
            assert_metadata(event, tid);
            assert!(
                named.insert((event["name"].to_string(), pid, tid)),
                "{event}"
            );
            continue;
        }
        let ts = number(event, "ts");
        assert!(last <= ts, "events are in the order of their time: {event}");
        last = ts;
        match event["ph"].as_str() {
            Some("X") => {
                let track = (pid, number(event, "tid"));
                used.insert(track);
                let end = ts + number(event, "dur");
                let open = open.entry(track).or_default();
                while open.last().is_some_and(|(_, end)| *end <= ts) {
                    open.pop();
                }
                let is_nested = open.last().is_none_or(|(_, outer)| end <= *outer);
                assert!(is_nested, "{event} overlaps {open:?}");
                open.push((ts, end));
            }
            Some("i") => {
                used.insert((pid, number(event, "tid")));
                assert_eq!(event["s"], "t", "{event}");
            }
            Some("C") => {
                let args = event["args"].as_object().expect("numbers");
                assert!(
                    !args.is_empty() && args.values().all(Value::is_u64),
                    "{event}"
                );
            }
            _ => panic!("an event of another kind: {event}"),
        }
    }
    for (pid, tid) in used {
        let thread = ("\"thread_name\"".to_owned(), pid, Some(tid));
        let process = ("\"process_name\"".to_owned(), pid, None);
        assert!(
            named.contains(&thread) && named.contains(&process),
            "{pid} {tid}"
        );
    }
}

#[track_caller]
fn assert_metadata(event: &Value, tid: Option<u64>) {
    let args = &event["args"];
    let (has_thread, is_right) = match event["name"].as_str() {
        Some("process_name") => (false, args["name"].is_string()),
        Some("process_sort_index") => (false, args["sort_index"].is_u64()),
        Some("thread_name") => (true, args["name"].is_string()),
        Some("thread_sort_index") => (true, args["sort_index"].is_u64()),
        _ => (false, false),
    };
    assert!(is_right && has_thread == tid.is_some(), "{event}");
}

#[track_caller]
fn number(event: &Value, field: &str) -> u64 {
    event[field]
        .as_u64()
        .unwrap_or_else(|| panic!("{field} of {event}"))
}

#[test]
#[should_panic = "overlaps"]
fn slices_that_overlap_are_found() {
    assert_trace(
        &json!({ "traceEvents": [
            { "ph": "X", "pid": 1, "tid": 2, "ts": 0, "dur": 10, "name": "one" },
            { "ph": "X", "pid": 1, "tid": 2, "ts": 5, "dur": 10, "name": "other" },
        ]})
        .to_string(),
    );
}
