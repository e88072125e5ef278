//! The events of calls whose spans a filter disables.
//!
//! In a program of its own: while another test records, no span is disabled for the whole process.

#[path = "events/recorded.rs"]
#[expect(dead_code, reason = "the tests of events use the rest")]
mod recorded;
mod support;
#[path = "events/undecided.rs"]
mod undecided;

use serde_json::json;
use toolbooth::ToolCall;
use toolbooth::events::{EventsLayer, TraceContext, TracingSink};
use tower::{Layer, ServiceExt};
use tracing::Instrument;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::{Layer as _, SubscriberExt};

use self::recorded::Recorded;
use self::support::{ScriptedTool, text_of};

#[tokio::test(start_paused = true)]
async fn events_of_a_call_without_a_span_have_its_tool_and_id() {
    // A level disables the span, which is information.
    {
        let recorded = Recorded::default();
        let warnings = recorded.clone().with_filter(LevelFilter::WARN);
        // The spans of this test are warnings.
        let subscriber = tracing_subscriber::registry().with(warnings);
        let _guard = tracing::subscriber::set_default(subscriber);
        let span = tracing::warn_span!("request");
        let request = span.enter();
        let failing = ScriptedTool::new(|_| async { Err("backend down".into()) });
        let call = ToolCall::new("tool", json!(null)).with_id("call_7");
        let mut calls = tokio_test::task::spawn(
            EventsLayer::new(TracingSink::new())
                .layer(failing)
                .oneshot(call),
        );
        tokio_test::assert_ready!(calls.poll()).unwrap_err();
        drop(request);

        let [request] = &recorded.spans()[..] else {
            panic!("one span");
        };
        let event = r#"[(Level(Warn), {"call_id": "call_7", "error.type": "tool_error", "message": "tool.failed", "tool": "tool"})]"#;
        assert_eq!(format!("{:?}", request.events), event);
    }
    // A filter disables the spans of calls alone.
    let recorded = Recorded::default();
    let filter = filter_fn(|metadata| metadata.name() != "execute_tool");
    let subscriber = tracing_subscriber::registry().with(recorded.clone().with_filter(filter));
    let _guard = tracing::subscriber::set_default(subscriber);
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let call = ToolCall::new("tool", json!(null)).with_id("call_7");
    let call = call.with_extension(TraceContext::parse(trace, None).unwrap());
    // There is no span to set the parent of.
    let sink = TracingSink::new().with_parent(|_, _| tracing::info!("parent"));
    let tool = EventsLayer::new(sink).layer(ScriptedTool::ready());
    let request = tracing::info_span!("request");
    text_of(tool, call).instrument(request).await;

    let [request] = &recorded.spans()[..] else {
        panic!("one span");
    };
    let calls = request.events.iter().map(|(_, fields)| {
        let field = |name| fields.get(name).map(String::as_str);
        (field("message"), field("tool"), field("call_id"))
    });
    let expected = ["tool.invoked", "tool.started", "tool.completed"];
    let expected = expected.map(|name| (Some(name), Some("tool"), Some("call_7")));
    assert_eq!(calls.collect::<Vec<_>>(), expected);
}
