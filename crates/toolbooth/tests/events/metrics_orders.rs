//! `MetricsSink` with events in any order: of attempts, of nested layers, and of layers without a
//! call.

use std::time::Duration;

use proptest::prelude::*;
use toolbooth::events::MetricsSink;
use toolbooth::middleware::LayerName;
use toolbooth::{
    BoxError, CancelReason, CatchPanicLayer, Event, EventKind, EventSink, EventsLayer, LimitChange,
    Name, RetryPolicy, events, tool_fn,
};
use toolbooth_test::{ScriptedTool, call, ms};
use tower::retry::RetryLayer;
use tower::{Layer, ServiceBuilder, ServiceExt};

use super::metrics::line;
use crate::recorded_metrics::Recorded;

/// Delivers an event of an attempt of the tool `t`.
fn deliver(sink: &MetricsSink, serial: u64, attempt: u32, kind: EventKind) {
    let mut event = Event::of_layer(kind);
    event.tool = Some(Name::from_static("t"));
    event.serial = serial;
    event.attempt = attempt;
    sink.on_event(&event);
}

fn of_layer(sink: &MetricsSink, kind: EventKind) {
    sink.on_event(&Event::of_layer(kind));
}

fn invoked() -> EventKind {
    EventKind::Invoked {
        tenant: None,
        parent: None,
        parent_serial: None,
        deadline: None,
        arguments: None,
    }
}

fn queued() -> EventKind {
    let layer = LayerName::new("rate");
    EventKind::Queued { layer }
}

fn admitted() -> EventKind {
    EventKind::Admitted {
        layer: LayerName::new("rate"),
        waited: Duration::ZERO,
    }
}

fn retry(attempt: u32) -> EventKind {
    EventKind::Retry {
        attempt,
        after: Duration::ZERO,
        error: None,
        layer: None,
        error_type: None,
    }
}

fn completed() -> EventKind {
    EventKind::Completed {
        is_error: false,
        contents: None,
    }
}

fn cancelled() -> EventKind {
    EventKind::Cancelled {
        reason: CancelReason::CallerGone,
        started: false,
        error: None,
    }
}

fn failed(error_type: &str) -> EventKind {
    EventKind::Failed {
        error: None,
        error_type: error_type.into(),
    }
}

/// Makes a call of two attempts, with layers outside and inside of the retry.
async fn retried(outside: EventsLayer, inside: EventsLayer) {
    let twice = RetryPolicy::new(2).with_backoff(ms(10), ms(10));
    let tool = ServiceBuilder::new()
        .layer(outside)
        .layer(RetryLayer::new(twice))
        .layer(inside)
        .layer(CatchPanicLayer::new())
        .service(ScriptedTool::scripts([
            toolbooth_test::Script::new().fail("down"),
            toolbooth_test::Script::new().respond("up"),
        ]));
    let response = tool.oneshot(call("t").with_idempotent(true)).await;
    assert!(response.is_ok());
}

#[tokio::test(start_paused = true)]
async fn attempts_inside_of_the_layer_are_one_call() {
    let (sink, mut recorded) = Recorded::new();
    retried(EventsLayer::new(sink), EventsLayer::off()).await;
    assert_eq!(recorded.values("calls.ended"), [line("{t,completed}", 1.0)]);
    assert_eq!(recorded.values("calls.started"), [line("{t}", 1.0)]);
    assert_eq!(recorded.values("calls.attempts"), [line("{t}", 2.0)]);
    assert_eq!(recorded.values("calls.in_flight"), []);
}

#[tokio::test(start_paused = true)]
async fn attempts_outside_of_the_layer_are_calls() {
    let (sink, mut recorded) = Recorded::new();
    retried(EventsLayer::off(), EventsLayer::new(sink)).await;
    assert_eq!(
        recorded.values("calls.ended"),
        [
            line("{t,completed}", 1.0),
            line("{t,tool_error,failed}", 1.0)
        ]
    );
    assert_eq!(recorded.values("calls.started"), [line("{t}", 2.0)]);
    assert_eq!(recorded.values("calls.attempts"), [line("{t}", 2.0)]);
    assert_eq!(recorded.values("calls.in_flight"), []);
}

#[tokio::test(start_paused = true)]
async fn call_counts_once_for_each_of_two_layers_with_clones_of_one_sink() {
    let (sink, mut recorded) = Recorded::new();
    let inner = EventsLayer::new(sink.clone()).layer(ScriptedTool::ready());
    let tool = EventsLayer::new(sink).layer(inner);
    tool.oneshot(call("t")).await.unwrap();
    assert_eq!(recorded.values("calls.invoked"), [line("", 2.0)]);
    assert_eq!(recorded.values("calls.started"), [line("{t}", 2.0)]);
    assert_eq!(recorded.values("calls.ended"), [line("{t,completed}", 2.0)]);
    assert_eq!(recorded.values("calls.attempts"), [line("{t}", 1.0)]);
    assert_eq!(recorded.values("calls.in_flight"), []);
}

#[test]
fn call_is_not_in_flight_while_its_retry_waits() {
    let (sink, mut recorded) = Recorded::new();
    deliver(&sink, 1, 1, invoked());
    deliver(&sink, 1, 1, EventKind::Started);
    assert_eq!(recorded.sum("calls.in_flight"), 1.0);
    deliver(&sink, 1, 1, retry(2));
    assert_eq!(recorded.sum("calls.in_flight"), 0.0);
    deliver(&sink, 1, 2, queued());
    assert_eq!(recorded.sum("queue.length"), 1.0);
    // The attempt ended in the queue.
    deliver(&sink, 1, 2, retry(3));
    assert_eq!(recorded.sum("queue.length"), 0.0);
    deliver(&sink, 1, 3, EventKind::Started);
    assert_eq!(recorded.sum("calls.in_flight"), 1.0);
    deliver(&sink, 1, 1, completed());
    assert_eq!(recorded.sum("calls.in_flight"), 0.0);
    assert_eq!(recorded.sum("calls.started"), 1.0);
    assert_eq!(recorded.values("calls.retries"), [line("{t}", 2.0)]);
}

/// An attempt of an inner layer that ends in a queue, while the call goes on.
#[test]
fn end_of_an_inner_layer_ends_only_the_waits_inside_of_it() {
    let (sink, mut recorded) = Recorded::new();
    deliver(&sink, 1, 1, invoked());
    deliver(&sink, 1, 1, queued());
    deliver(&sink, 1, 1, invoked());
    deliver(&sink, 1, 1, queued());
    assert_eq!(recorded.sum("queue.length"), 2.0);
    deliver(&sink, 1, 1, cancelled());
    assert_eq!(recorded.sum("queue.length"), 1.0);
    deliver(&sink, 1, 1, cancelled());
    assert_eq!(recorded.sum("queue.length"), 0.0);
    assert_eq!(recorded.count("queue.wait"), 2);
}

#[tokio::test(start_paused = true)]
async fn each_end_ends_the_innermost_pass() {
    let (sink, mut recorded) = Recorded::new();
    for kind in [invoked(), invoked(), invoked()] {
        deliver(&sink, 1, 1, kind);
        tokio::time::advance(ms(250)).await;
    }
    for _ in 0..3 {
        deliver(&sink, 1, 1, completed());
        tokio::time::advance(ms(250)).await;
    }
    assert_eq!(
        recorded.records("gen_ai.execute_tool.duration{other}"),
        [0.25, 0.75, 1.25]
    );
}

#[test]
fn admission_ends_the_wait_in_the_queue_of_its_layer() {
    let (sink, mut recorded) = Recorded::new();
    let layer = LayerName::new("concurrency");
    deliver(&sink, 1, 1, invoked());
    deliver(&sink, 1, 1, queued());
    deliver(&sink, 1, 1, EventKind::Queued { layer });
    deliver(&sink, 1, 1, admitted());
    assert_eq!(
        recorded.values("queue.length"),
        [line("{concurrency,concurrency}", 1.0)]
    );
    deliver(&sink, 1, 1, cancelled());
    assert_eq!(recorded.values("queue.length"), []);
}

/// A call without an events layer, and one that has ended.
#[test]
fn wait_outside_of_all_passes_is_not_counted() {
    let (sink, mut recorded) = Recorded::new();
    deliver(&sink, 1, 1, queued());
    deliver(&sink, 2, 1, invoked());
    deliver(&sink, 2, 1, completed());
    deliver(&sink, 2, 1, queued());
    assert_eq!(recorded.values("queue.length"), []);
}

/// A later attempt that no pass of its own surrounds.
#[test]
fn end_of_the_last_pass_ends_the_waits_of_all_attempts() {
    let (sink, mut recorded) = Recorded::new();
    deliver(&sink, 1, 1, invoked());
    deliver(&sink, 1, 2, queued());
    assert_eq!(recorded.sum("queue.length"), 1.0);
    deliver(&sink, 1, 1, cancelled());
    assert_eq!(recorded.values("queue.length"), []);
}

#[test]
fn layer_with_the_name_of_the_others_has_their_kind() {
    let (sink, mut recorded) = Recorded::new();
    let layer = LayerName::new("rate").renamed("other");
    deliver(&sink, 1, 1, invoked());
    deliver(&sink, 1, 1, EventKind::Queued { layer });
    let queues = [line("{other,other}", 1.0)];
    assert_eq!(recorded.values("queue.length"), queues);
}

/// Two attempts that run at once, as a hedge makes them.
#[test]
fn end_of_an_attempt_leaves_another_one_as_it_is() {
    let (sink, mut recorded) = Recorded::new();
    for attempt in [1, 2] {
        deliver(&sink, 1, attempt, invoked());
        deliver(&sink, 1, attempt, queued());
    }
    deliver(&sink, 1, 1, admitted());
    deliver(&sink, 1, 1, EventKind::Started);
    let gauges = (
        recorded.sum("queue.length"),
        recorded.sum("calls.in_flight"),
    );
    assert_eq!(gauges, (1.0, 1.0));
    deliver(&sink, 1, 1, completed());
    let gauges = (
        recorded.sum("queue.length"),
        recorded.sum("calls.in_flight"),
    );
    assert_eq!(gauges, (1.0, 0.0));
    deliver(&sink, 1, 2, cancelled());
    assert_eq!(recorded.sum("queue.length"), 0.0);
}

#[test]
fn states_of_a_breaker_sum_to_1() {
    let (sink, mut recorded) = Recorded::new();
    let change = |from, to| EventKind::BreakerChanged {
        layer: LayerName::new("breaker"),
        key: None,
        from,
        to,
        why: Name::from_static("failures"),
    };
    of_layer(&sink, change("closed", "open"));
    assert_eq!(
        recorded.all("breaker.state"),
        [
            line("{breaker,breaker,closed}", 0.0),
            line("{breaker,breaker,disabled}", 0.0),
            line("{breaker,breaker,half_open}", 0.0),
            line("{breaker,breaker,open}", 1.0),
        ]
    );
    // Two threads report in the wrong order.
    of_layer(&sink, change("half_open", "closed"));
    assert_eq!(recorded.sum("breaker.state"), 1.0);
    of_layer(&sink, change("open", "half_open"));
    let closed = [line("{breaker,breaker,closed}", 1.0)];
    assert_eq!(recorded.values("breaker.state"), closed);
}

#[test]
fn keys_of_a_breaker_are_counted_by_state_and_are_no_labels() {
    let (sink, mut recorded) = Recorded::new();
    let change = |key: &str, from, to| EventKind::BreakerChanged {
        layer: LayerName::new("breaker"),
        key: Some(key.into()),
        from,
        to,
        why: Name::from_static("failures"),
    };
    for key in ["a", "b", "c"] {
        of_layer(&sink, change(key, "closed", "open"));
    }
    of_layer(&sink, change("b", "open", "half_open"));
    of_layer(&sink, change("c", "open", "closed"));
    assert_eq!(
        recorded.all("breaker.state"),
        [
            line("{breaker,breaker,half_open}", 1.0),
            line("{breaker,breaker,open}", 1.0),
        ]
    );
}

#[test]
fn full_table_of_keys_is_counted() {
    let (sink, mut recorded) = Recorded::new();
    let layer = || LayerName::new("rate");
    let change = LimitChange::Overflow { keys: 1_000 };
    let layer_changed = EventKind::LimitChanged {
        layer: layer(),
        change,
    };
    of_layer(&sink, layer_changed);
    let change = LimitChange::Set {
        key: None,
        limit: None,
    };
    of_layer(
        &sink,
        EventKind::LimitChanged {
            layer: layer(),
            change,
        },
    );
    assert_eq!(
        recorded.values("limit.key_overflows"),
        [line("{rate,rate}", 1.0)]
    );
}

/// The status of a response is a text of the tool.
#[test]
fn failures_of_more_than_64_kinds_share_one_label() {
    let (sink, mut recorded) = Recorded::new();
    deliver(&sink, 1, 1, EventKind::Started);
    for status in 500..600 {
        deliver(&sink, 1, 1, failed(&status.to_string()));
    }
    let labels = recorded.values("calls.ended");
    assert_eq!(labels.len(), 65);
    assert!(
        labels.contains(&line("{t,other,failed}", 36.0)),
        "{labels:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn events_that_a_channel_drops_are_counted() {
    let (sink, mut recorded) = Recorded::new();
    let (log, received) = sink.channel("log", 2);
    let (silent, _) = events::channel(1);
    let tool = tool_fn("t", async |_: ()| Ok::<_, BoxError>("done"));
    let tool = EventsLayer::new(log).with_sink(silent).layer(tool);
    tool.oneshot(call("t")).await.unwrap();
    assert_eq!(recorded.values("events.dropped"), [line("{log}", 1.0)]);
    assert_eq!(received.dropped(), 1);
}

/// What may happen to one of three attempts of one of two calls.
fn any_event() -> impl Strategy<Value = (u64, u32, EventKind)> {
    let kind = prop_oneof![
        Just(invoked()),
        Just(queued()),
        Just(admitted()),
        Just(EventKind::Started),
        (1_u32..4).prop_map(retry),
        Just(completed()),
        Just(cancelled()),
    ];
    (1_u64..3, 1_u32..4, kind)
}

proptest! {
    #[test]
    fn gauges_are_0_after_any_events_once_all_passes_have_ended(
        events in prop::collection::vec(any_event(), 0..60),
    ) {
        let (sink, mut recorded) = Recorded::new();
        for (serial, attempt, kind) in events {
            deliver(&sink, serial, attempt, kind);
        }
        // As many as there may be passes.
        for (serial, attempt) in [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)] {
            for _ in 0..60 {
                deliver(&sink, serial, attempt, cancelled());
            }
        }
        prop_assert_eq!(recorded.values("calls.in_flight"), []);
        prop_assert_eq!(recorded.values("queue.length"), []);
    }
}
