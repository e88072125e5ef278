//! The slices and marks of calls.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::event::{Args, TraceEvent, Track};
use super::lanes::{Lanes, Slice, SliceKind};
use super::{COUNTERS, micros};
use crate::escape::{printable, printable_name};
use crate::record::{CallRecord, Phase, Timeline};

/// A slice, and what it shows.
struct Shown<'a> {
    slice: Slice,
    process: usize,
    /// How many calls made each other, up to this one.
    depth: usize,
    call: &'a CallRecord,
    /// `None` if it is the slice of the call itself.
    phase: Option<&'a Phase>,
}

/// The processes, and the number of each thread.
#[derive(Default)]
struct Tracks {
    names: Vec<String>,
    lanes: Vec<Lanes>,
    threads: HashMap<(usize, usize), Track>,
    /// The metadata of the tracks.
    events: Vec<TraceEvent>,
}

/// The most tools that are a process of their own.
const MAX_PROCESSES: usize = 100;
const OTHERS: &str = "(other tools)";
/// The first thread; smaller numbers are those of processes.
const FIRST_THREAD: usize = 1_001;

/// Returns the slices and marks of all calls, after the metadata of their tracks.
pub(super) fn events(timeline: &Timeline) -> Vec<TraceEvent> {
    let (names, mut shown) = shown(timeline);
    // The outer one of two slices first, where they have the same time.
    shown.sort_by_key(|shown| {
        let Slice {
            start, end, kind, ..
        } = shown.slice;
        (start, Reverse(end), shown.depth, kind != SliceKind::Call)
    });
    let mut tracks = Tracks::new(names);
    let mut events = Vec::with_capacity(shown.len());
    for shown in shown {
        let track = tracks.place(&shown);
        match shown.phase {
            Some(phase) => events.push(of_phase(phase, &shown, track)),
            None => {
                let args = Args::of_call(shown.call, timeline);
                let name = printable_name(&shown.call.tool).into_owned();
                let time = (shown.slice.start, shown.slice.end);
                events.push(TraceEvent::slice(track, time, name, "call", args));
                events.extend(marks(shown.call, track));
            }
        }
    }
    let mut all = tracks.events;
    all.append(&mut events);
    all
}

fn of_phase(phase: &Phase, shown: &Shown<'_>, track: Track) -> TraceEvent {
    let kind = phase.kind.as_str();
    let name = match &phase.layer {
        Some(layer) => format!("{kind}: {}", printable_name(layer)),
        None => kind.to_owned(),
    };
    let time = (shown.slice.start, shown.slice.end);
    let args = Args::Phase {
        attempt: phase.attempt,
    };
    TraceEvent::slice(track, time, name, "phase", args)
}

fn marks(call: &CallRecord, track: Track) -> impl Iterator<Item = TraceEvent> {
    let first = call.first_item.map(|at| (at, "first item".to_owned()));
    let marks = call.marks.iter().map(|mark| {
        let text = mark.kind.to_string();
        (mark.at, printable(&text).into_owned())
    });
    let marks = first.into_iter().chain(marks);
    marks.map(move |(at, name)| TraceEvent::instant(track, micros(at), name))
}

/// Returns the names of the processes, and the slices of all calls.
fn shown(timeline: &Timeline) -> (Vec<String>, Vec<Shown<'_>>) {
    let mut names: Vec<String> = Vec::new();
    let mut by_tool = HashMap::new();
    // The process and the depth of each call.
    let mut places: HashMap<u64, (usize, usize)> = HashMap::new();
    let mut shown = Vec::new();
    for call in &timeline.calls {
        let made_by = call.parent.and_then(|parent| places.get(&parent));
        let (process, depth) = match made_by {
            Some((process, depth)) => (*process, depth + 1),
            None => {
                let process = *by_tool.entry(&*call.tool).or_insert_with(|| {
                    match names.len() {
                        0..MAX_PROCESSES => names.push(printable_name(&call.tool).into_owned()),
                        MAX_PROCESSES => names.push(OTHERS.to_owned()),
                        _ => {}
                    }
                    names.len() - 1
                });
                (process, 0)
            }
        };
        places.insert(call.number, (process, depth));
        let slices = slices(call, timeline);
        shown.extend(slices.map(|(slice, phase)| Shown {
            slice,
            process,
            depth,
            call,
            phase,
        }));
    }
    (names, shown)
}

/// Returns the slices of a call and its phases.
fn slices<'a>(
    call: &'a CallRecord,
    timeline: &Timeline,
) -> impl Iterator<Item = (Slice, Option<&'a Phase>)> {
    let now = timeline.now;
    let start = micros(call.start);
    let of_call = Slice {
        start,
        end: micros(call.end.unwrap_or(now)).max(start),
        call: call.number,
        parent: call.parent,
        last: micros(call.last_at(now)),
        kind: SliceKind::Call,
    };
    let phases = call.phases.iter().filter_map(move |phase| {
        let slice = Slice {
            start: micros(phase.start).max(start),
            end: micros(phase.end.unwrap_or(now)),
            kind: SliceKind::Phase(phase.kind),
            ..of_call
        };
        (slice.start < slice.end).then_some((slice, Some(phase)))
    });
    [(of_call, None)].into_iter().chain(phases)
}

// === impl Tracks ===

impl Tracks {
    fn new(names: Vec<String>) -> Self {
        let lanes = names.iter().map(|_| Lanes::default()).collect();
        let mut events = Vec::new();
        for (process, name) in names.iter().enumerate() {
            events.extend(TraceEvent::process(pid(process), name.clone()));
        }
        Self {
            names,
            lanes,
            threads: HashMap::new(),
            events,
        }
    }

    fn place(&mut self, shown: &Shown<'_>) -> Track {
        let process = shown.process;
        let lane = self.lanes[process].place(shown.slice);
        let tid = number(FIRST_THREAD + self.threads.len());
        *self.threads.entry((process, lane)).or_insert_with(|| {
            let track = Track {
                pid: pid(process),
                tid,
            };
            let name = format!("{} {}", self.names[process], lane + 1);
            self.events.extend(TraceEvent::thread(track, name));
            track
        })
    }
}

fn pid(process: usize) -> u32 {
    COUNTERS + 1 + number(process)
}

/// The bounds of processes and calls are far below that of the type.
fn number(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
