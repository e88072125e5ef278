//! The bounds of the recorder and of its outputs.

use allocation_counter::measure;
use toolbooth::middleware::LayerName;
use toolbooth::{CancelReason, Content};

use super::*;

/// Records the events of a call.
fn record(
    recorder: &Recorder,
    serial: u64,
    tool: &str,
    kinds: impl IntoIterator<Item = EventKind>,
) {
    for kind in kinds {
        recorder.on_event(&event(serial, tool, kind));
    }
}

/// The events of a call that waits, runs and completes.
fn completed() -> [EventKind; 5] {
    let layer = LayerName::new("concurrency");
    [
        invoked(None),
        EventKind::Queued {
            layer: layer.clone(),
        },
        EventKind::Admitted {
            layer,
            waited: ms(10),
        },
        EventKind::Started,
        COMPLETED,
    ]
}

#[test]
fn hundred_thousand_calls_stay_in_bounds() {
    let recorder = Recorder::new();
    let memory = measure(|| {
        for serial in 1..=100_000 {
            record(&recorder, serial, "search", completed());
        }
    });
    // 10,000 records, and what the tables have besides.
    assert!(memory.bytes_current < 20_000_000, "{memory:?}");
    assert!(memory.bytes_max < 20_000_000, "{memory:?}");
    let timeline = recorder.snapshot();
    assert_eq!(
        (timeline.calls.len(), timeline.dropped, timeline.unrecorded),
        (10_000, 90_000, 0)
    );
    // Those that ended last.
    let numbers = timeline.calls.iter().map(|call| call.number);
    assert!(numbers.eq(90_001..=100_000));
}

#[test]
fn running_calls_are_not_dropped() {
    let recorder = Recorder::new().with_capacity(10);
    for serial in 1..=15 {
        record(
            &recorder,
            serial,
            "hangs",
            [invoked(None), EventKind::Started],
        );
    }
    let timeline = recorder.snapshot();
    assert_eq!(
        (timeline.calls.len(), timeline.dropped, timeline.unrecorded),
        (10, 0, 5)
    );
    // The end of a call makes room.
    record(&recorder, 3, "hangs", [COMPLETED]);
    record(&recorder, 16, "hangs", [invoked(None)]);
    let timeline = recorder.snapshot();
    assert_eq!(
        (timeline.calls.len(), timeline.dropped, timeline.unrecorded),
        (10, 1, 5)
    );
    assert!(
        timeline
            .calls
            .iter()
            .all(|call| call.number != 3 && call.end.is_none())
    );
}

#[tokio::test(start_paused = true)]
async fn one_call_stays_in_bounds() {
    let recorder = Recorder::new().with_contents();
    let layer = LayerName::new("concurrency").renamed("n".repeat(100_000));
    let content = || Some(std::sync::Arc::new(Content::from("x".repeat(1_000))));
    let partial = || EventKind::Partial {
        bytes: 1_000,
        content: content(),
    };
    let memory = measure(|| {
        record(&recorder, 1, "search", [invoked(None)]);
        for attempt in 2..1_000 {
            record(
                &recorder,
                1,
                "search",
                [
                    EventKind::Queued {
                        layer: layer.clone(),
                    },
                    EventKind::Started,
                    partial(),
                    EventKind::Retry {
                        attempt,
                        after: ms(1),
                        error: None,
                        layer: None,
                        error_type: None,
                    },
                ],
            );
        }
    });
    assert!(memory.bytes_current < 50_000, "{memory:?}");
    for _ in 0..100 {
        record(&recorder, 1, "search", [partial()]);
        sleep(ms(1_000)).await;
    }
    let end = EventKind::Cancelled {
        reason: CancelReason::Explicit,
        started: true,
        error: None,
    };
    record(&recorder, 1, "search", [end]);
    let timeline = recorder.snapshot();
    let [call] = &*timeline.calls else {
        panic!("one call")
    };
    assert_eq!((call.phases.len(), call.marks.len()), (64, 32));
    assert!(
        call.left_out > 900 && call.contents_left_out,
        "{}",
        call.left_out
    );
    assert_eq!((call.items, call.bytes), (1_098, 1_098_000));
    assert_eq!(
        call.contents.iter().map(String::len).sum::<usize>(),
        16 * 1_024
    );
    assert!(call.phases.iter().all(|phase| phase.end.is_some()));
    assert!(
        call.phases
            .iter()
            .flat_map(|phase| &phase.layer)
            .all(|layer| layer.len() == 256)
    );
}

#[tokio::test(start_paused = true)]
async fn text_of_many_calls_is_readable() {
    let recorder = Recorder::new();
    for serial in 1..=1_000 {
        record(
            &recorder,
            serial,
            &format!("tool-{}", serial % 30),
            [invoked(None), EventKind::Started],
        );
        sleep(ms(serial % 7)).await;
        record(&recorder, serial, "", [COMPLETED]);
    }
    let timeline = recorder.snapshot();
    let text = timeline.to_text(80);
    // The head, 20 tools and the others, 100 calls, the note and the legend.
    assert_eq!(text.lines().count(), 2 + 22 + 1 + 101 + 2);
    assert!(text.contains("\n900 shorter calls not shown\n"), "{text}");
    assert!(text.contains("\n(other tools) "), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80));
    assert_eq!(text, timeline.to_text(80));
    trace(timeline);
}

#[test]
fn tools_that_clients_name_make_a_bounded_number_of_processes() {
    let recorder = Recorder::new();
    for serial in 1..=1_000 {
        record(&recorder, serial, &format!("unknown-{serial}"), completed());
    }
    let trace = trace(recorder.snapshot());
    assert_eq!(trace.matches("process_name").count(), 100 + 1 + 1);
}
