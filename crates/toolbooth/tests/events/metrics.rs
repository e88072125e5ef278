//! `MetricsSink`: what it records of each call, with which names and labels.

use futures_util::FutureExt;
use metrics_util::debugging::DebuggingRecorder;
use toolbooth::events::MetricsSink;
use toolbooth::events::metrics::DURATION_BUCKETS;
use toolbooth::{
    BoxError, CatchPanicLayer, ConcurrencyLimitLayer, EventsLayer, Quota, RateLimitLayer,
    TimeoutLayer, ToolOutput, Toolbox, tool_fn,
};
use toolbooth_test::{Script, ScriptedTool, call, ms};
use tower::{Layer, ServiceBuilder, ServiceExt};

use crate::recorded_metrics::Recorded;

/// The label values of a metric, and its value.
pub(crate) fn line(labels: &str, value: f64) -> (String, f64) {
    (labels.to_owned(), value)
}

#[tokio::test(start_paused = true)]
async fn call_has_these_metrics_with_these_labels() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let search = Script::new().emit("3 of 9").delay(ms(40)).respond("9");
    let search =
        EventsLayer::new(MetricsSink::for_recorder(recorder)).layer(ScriptedTool::script(search));
    search.oneshot(call("search")).await.unwrap();

    let mut lines: Vec<_> = snapshotter
        .snapshot()
        .into_vec()
        .into_iter()
        .map(|(key, unit, description, value)| {
            assert!(description.is_some(), "{key:?}");
            let labels = key.key().labels();
            let labels: Vec<_> = labels.map(|label| format!("{label:?}")).collect();
            let unit = unit.map_or("", |unit| unit.as_str());
            let (name, labels) = (key.key().name(), labels.join(", "));
            format!("{name} {{{labels}}} {unit} {value:?}")
        })
        .filter(|line| !line.ends_with("Counter(0)") && !line.ends_with("Histogram([])"))
        .collect();
    lines.sort();
    let tool = r#"Label("gen_ai.tool.name", "search")"#;
    let outcome = r#"Label("toolbooth.outcome", "completed")"#;
    assert_eq!(
        lines,
        [
            format!("gen_ai.execute_tool.duration {{{tool}}} seconds Histogram([0.04])"),
            format!("toolbooth.calls.attempts {{{tool}}} count Counter(1)"),
            format!("toolbooth.calls.ended {{{tool}, {outcome}}} count Counter(1)"),
            format!("toolbooth.calls.in_flight {{{tool}}} count Gauge(0.0)"),
            "toolbooth.calls.invoked {} count Counter(1)".to_owned(),
            format!("toolbooth.calls.started {{{tool}}} count Counter(1)"),
            format!("toolbooth.partial.bytes {{{tool}}} bytes Counter(6)"),
            format!("toolbooth.partial.items {{{tool}}} count Counter(1)"),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn each_ending_has_its_outcome_and_error_type() {
    let (sink, mut recorded) = Recorded::new();
    let tool = |script: Script| {
        ServiceBuilder::new()
            .layer(EventsLayer::new(sink.clone()))
            .layer(TimeoutLayer::new(ms(100)))
            .layer(CatchPanicLayer::new())
            .service(ScriptedTool::script(script))
    };
    let _ = tool(Script::new().fail("no")).oneshot(call("t")).await;
    let _ = tool(Script::new().panic("no")).oneshot(call("t")).await;
    let _ = tool(Script::new().hang()).oneshot(call("t")).await;
    let dropped = tool(Script::new().hang()).oneshot(call("t"));
    assert!(dropped.now_or_never().is_none());
    let reports = tool_fn("t", async |_: ()| {
        Ok::<_, BoxError>(ToolOutput::error("no"))
    });
    let reports = EventsLayer::new(sink.clone()).layer(reports);
    reports.oneshot(call("t")).await.unwrap();
    let full = ConcurrencyLimitLayer::new(1).with_queue_capacity(0);
    let full = EventsLayer::new(sink.clone()).layer(full.layer(ScriptedTool::pending()));
    let running = full.clone().oneshot(call("t"));
    let mut running = Box::pin(running);
    assert!(futures_util::poll!(&mut running).is_pending());
    let _ = full.oneshot(call("t")).await;

    assert_eq!(recorded.sum("calls.in_flight"), 1.0);
    drop(running);
    assert_eq!(
        recorded.values("calls.ended"),
        [
            line("{t,cancelled,cancelled}", 2.0),
            line("{t,overloaded,rejected}", 1.0),
            line("{t,panicked,panicked}", 1.0),
            line("{t,timeout,timed_out}", 1.0),
            line("{t,tool_error,completed}", 1.0),
            line("{t,tool_error,failed}", 1.0),
        ]
    );
    assert_eq!(
        recorded.records("gen_ai.execute_tool.duration{t,timeout}"),
        [0.1]
    );
    assert_eq!(recorded.values("calls.invoked"), [line("", 7.0)]);
    assert_eq!(recorded.values("calls.started"), [line("{t}", 6.0)]);
    assert_eq!(recorded.values("calls.in_flight"), []);
}

#[tokio::test(start_paused = true)]
async fn waits_are_recorded_by_layer() {
    let (sink, mut recorded) = Recorded::new();
    let second = Quota::with_period(ms(1_000)).unwrap();
    let tool = ServiceBuilder::new()
        .layer(EventsLayer::new(sink))
        .layer(RateLimitLayer::new(second).with_name("github"))
        .layer(ConcurrencyLimitLayer::new(1))
        .service(ScriptedTool::scripts([
            Script::new().delay(ms(1_200)).respond("1"),
            Script::new().respond("2"),
        ]));
    let two = [(); 2].map(|()| tokio::spawn(tool.clone().oneshot(call("t"))));
    tokio::time::sleep(ms(500)).await;
    assert_eq!(
        recorded.values("queue.length"),
        [line("{github,rate}", 1.0)]
    );
    tokio::time::sleep(ms(600)).await;
    assert_eq!(
        recorded.values("queue.length"),
        [line("{concurrency,concurrency}", 1.0)]
    );
    for call in two {
        call.await.unwrap().unwrap();
    }
    assert_eq!(recorded.values("queue.length"), []);
    let admitted = recorded.records("queue.wait{github,rate,admitted}");
    assert_eq!(admitted, [1.0]);
    let admitted = recorded.records("queue.wait{concurrency,concurrency,admitted}");
    assert_eq!(admitted, [0.2]);
}

#[tokio::test(start_paused = true)]
async fn call_that_is_dropped_in_a_queue_leaves_its_gauge() {
    let (sink, mut recorded) = Recorded::new();
    let limit = ConcurrencyLimitLayer::new(1);
    let tool = EventsLayer::new(sink).layer(limit.layer(ScriptedTool::pending()));
    let first = tokio::spawn(tool.clone().oneshot(call("t")));
    tokio::task::yield_now().await;
    let waits = tokio::time::timeout(ms(300), tool.oneshot(call("t")));
    assert!(waits.await.is_err());
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());

    assert_eq!(
        recorded.all("queue.length"),
        [line("{concurrency,concurrency}", 0.0)]
    );
    let ended = recorded.records("queue.wait{concurrency,concurrency,ended}");
    assert_eq!(ended, [0.3]);
    // The call that waited was never in flight.
    assert_eq!(recorded.sum("calls.started"), 1.0);
    assert_eq!(recorded.values("calls.in_flight"), []);
}

#[tokio::test(start_paused = true)]
async fn streaming_call_is_in_flight_until_its_last_byte() {
    let (sink, mut recorded) = Recorded::new();
    let tool = Script::new().stream(["one", "two"]);
    let tool = EventsLayer::new(sink).layer(ScriptedTool::script(tool));
    let output = tool.clone().oneshot(call("t")).await.unwrap();
    assert_eq!(recorded.sum("calls.in_flight"), 1.0);
    output.collect().await.unwrap();
    assert_eq!(recorded.sum("calls.in_flight"), 0.0);
    // A consumer that disconnects.
    drop(tool.oneshot(call("t")).await.unwrap());
    assert_eq!(recorded.sum("calls.in_flight"), 0.0);
    assert_eq!(
        recorded.values("calls.ended"),
        [
            line("{t,cancelled,cancelled}", 1.0),
            line("{t,completed}", 1.0)
        ]
    );
    assert_eq!(recorded.values("partial.items"), [line("{t}", 2.0)]);
    assert_eq!(recorded.values("partial.bytes"), [line("{t}", 6.0)]);
}

#[tokio::test(start_paused = true)]
async fn time_beyond_a_limit_is_recorded_by_layer() {
    let (sink, mut recorded) = Recorded::new();
    let hangs = || ScriptedTool::new(|_| std::future::pending());
    let grace = TimeoutLayer::new(ms(100)).with_grace(ms(50));
    let tool = EventsLayer::new(sink.clone()).layer(grace.with_name("total").layer(hangs()));
    let _ = tool.oneshot(call("t")).await;
    // The layer whose limit expires is outside.
    let inside = EventsLayer::new(sink).layer(hangs());
    let _ = TimeoutLayer::new(ms(100))
        .layer(inside)
        .oneshot(call("t"))
        .await;

    assert_eq!(recorded.records("limit.overshoot{total,timeout}"), [0.05]);
    assert_eq!(recorded.records("limit.overshoot{timeout,timeout}"), [0.0]);
}

#[tokio::test(start_paused = true)]
async fn name_that_is_not_a_tools_is_no_label() {
    let (sink, mut recorded) = Recorded::new();
    let search = tool_fn("search", async |_: ()| Ok::<_, BoxError>("3 files"));
    let toolbox = Toolbox::builder().tool("search", search).build().unwrap();
    let limit = ConcurrencyLimitLayer::new(8);
    let toolbox = EventsLayer::new(sink).layer(limit.layer(toolbox));
    for name in ["a client's", "search", "other"] {
        let _ = toolbox.clone().oneshot(call(name)).await;
    }
    assert_eq!(
        recorded.values("calls.ended"),
        [
            line("{other,unknown_tool,rejected}", 2.0),
            line("{search,completed}", 1.0),
        ]
    );
    assert_eq!(recorded.values("calls.started"), [line("{search}", 1.0)]);
}

#[tokio::test(start_paused = true)]
async fn names_beyond_the_bound_share_one_label() {
    let recorder = DebuggingRecorder::new();
    let mut recorded = Recorded::by(recorder.snapshotter());
    let sink = MetricsSink::for_recorder(recorder).with_max_names(2);
    let tool = EventsLayer::new(sink.clone()).layer(ScriptedTool::ready());
    for name in ["a", "b", "c", "d", "a"] {
        tool.clone().oneshot(call(name)).await.unwrap();
    }
    for layer in ["one", "two", "three", "four"] {
        let limit = ConcurrencyLimitLayer::new(1).with_name(layer);
        let waits = EventsLayer::new(sink.clone()).layer(limit.layer(ScriptedTool::pending()));
        let mut calls = [(); 2].map(|()| Box::pin(waits.clone().oneshot(call("a"))));
        for call in &mut calls {
            assert!(futures_util::poll!(call).is_pending());
        }
    }
    let ended = recorded.values("calls.started");
    assert_eq!(
        ended,
        [line("{a}", 6.0), line("{b}", 1.0), line("{other}", 2.0)]
    );
    let queues = ["{one,concurrency}", "{other,other}", "{two,concurrency}"];
    let queues = queues.map(|labels| line(labels, 0.0));
    assert_eq!(recorded.all("queue.length"), queues);
}

#[test]
fn each_bucket_is_the_double_of_the_one_before() {
    assert_eq!((DURATION_BUCKETS[0], DURATION_BUCKETS[13]), (0.01, 81.92));
    for pair in DURATION_BUCKETS.windows(2) {
        assert_eq!(pair[1], 2.0 * pair[0]);
    }
}
