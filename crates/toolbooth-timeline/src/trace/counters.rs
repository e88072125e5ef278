//! The calls in flight and the depth of queues over time.

use std::collections::BTreeMap;

use super::event::TraceEvent;
use super::{COUNTERS, micros};
use crate::escape::printable_name;
use crate::record::{PhaseKind, Timeline};

/// The changes of a number, by the time of each.
type Changes = BTreeMap<u64, i64>;

/// The most layers whose queue has a counter of its own.
const MAX_LAYERS: usize = 32;
const IN_FLIGHT: &str = "in flight";

/// Returns the events of the counters, each where its number changes.
pub(super) fn events(timeline: &Timeline) -> Vec<TraceEvent> {
    let mut in_flight = Changes::new();
    let mut queues: BTreeMap<String, Changes> = BTreeMap::new();
    for call in &timeline.calls {
        add(&mut in_flight, micros(call.start), call.end.map(micros));
        for phase in &call.phases {
            if phase.kind != PhaseKind::Queue {
                continue;
            }
            let layer = phase
                .layer
                .as_deref()
                .map_or("other".into(), printable_name);
            if queues.len() < MAX_LAYERS || queues.contains_key(&*layer) {
                let queue = queues.entry(layer.into_owned()).or_default();
                add(queue, micros(phase.start), phase.end.map(micros));
            }
        }
    }
    let mut events = Vec::new();
    if !timeline.calls.is_empty() {
        events.extend(TraceEvent::process(COUNTERS, "toolbooth".to_owned()));
    }
    counter(&mut events, IN_FLIGHT, "calls", &in_flight);
    for (layer, changes) in &queues {
        counter(&mut events, &format!("queued: {layer}"), "calls", changes);
    }
    events
}

fn add(changes: &mut Changes, start: u64, end: Option<u64>) {
    *changes.entry(start).or_default() += 1;
    if let Some(end) = end {
        *changes.entry(end).or_default() -= 1;
    }
}

fn counter(events: &mut Vec<TraceEvent>, name: &str, unit: &str, changes: &Changes) {
    let mut number = 0;
    for (at, change) in changes {
        number += change;
        if *change != 0 {
            let count = u64::try_from(number).unwrap_or_default();
            let counts = BTreeMap::from([(unit.to_owned(), count)]);
            events.push(TraceEvent::counter(*at, name, counts));
        }
    }
}
