//! What the sink allocates.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use allocation_counter::measure;
use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use toolbooth::events::MetricsSink;
use toolbooth::middleware::LayerName;
use toolbooth::{Event, EventKind, EventSink, Name};

/// A recorder that allocates nothing once a metric is registered.
struct Registered;

struct Discard;

impl HistogramFn for Discard {
    fn record(&self, _: f64) {}
}

impl Recorder for Registered {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::new(AtomicU64::new(0)))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::new(AtomicU64::new(0)))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::new(Discard))
    }
}

/// All that may happen to a call that waits, emits, fails and has a hook.
fn events(serial: u64) -> Vec<Event> {
    let layer = || LayerName::new("concurrency").renamed("a layer with a name of some length");
    let kinds = [
        EventKind::Invoked {
            tenant: None,
            parent: None,
            parent_serial: None,
            deadline: None,
            arguments: None,
        },
        EventKind::Queued { layer: layer() },
        EventKind::Admitted {
            layer: layer(),
            waited: Duration::ZERO,
        },
        EventKind::Started,
        EventKind::FirstItem,
        EventKind::Partial {
            bytes: 9,
            content: None,
        },
        EventKind::Retry {
            attempt: 2,
            after: Duration::ZERO,
            error: None,
            layer: None,
            error_type: None,
        },
        EventKind::Failed {
            error: None,
            error_type: Name::from_static("503"),
        },
        EventKind::CleanupAbandoned { hooks: 1 },
    ];
    let events = kinds.into_iter().map(|kind| {
        let mut event = Event::of_layer(kind);
        event.serial = serial;
        event.attempt = 1;
        event.tool = Some("a tool with a name of some length".into());
        event
    });
    events.collect()
}

#[test]
fn no_event_of_a_known_tool_and_layer_allocates() {
    let sink = MetricsSink::for_recorder(Registered);
    let deliver = |events: Vec<Event>| {
        let counted = measure(|| events.iter().for_each(|event| sink.on_event(event)));
        (counted.count_total, counted.count_current)
    };
    let (first, _) = deliver(events(1));
    assert_ne!(first, 0);
    for serial in 2..1_000 {
        assert_eq!(deliver(events(serial)), (0, 0));
    }
}

/// The status of a response is a text of the tool.
#[test]
fn no_failure_of_a_kind_beyond_the_bound_allocates() {
    let sink = MetricsSink::for_recorder(Registered);
    let failed = |status: u32| {
        let mut event = Event::of_layer(EventKind::Failed {
            error: None,
            error_type: status.to_string().into(),
        });
        event.tool = Some(Name::from_static("t"));
        event
    };
    let mut allocates = Vec::new();
    for status in 0..100 {
        let event = failed(status);
        let counted = measure(|| sink.on_event(&event));
        allocates.push(counted.count_total > 0);
    }
    // 64 kinds, and one for the others.
    assert_eq!(allocates, [[true; 65].as_slice(), &[false; 35]].concat());
}
