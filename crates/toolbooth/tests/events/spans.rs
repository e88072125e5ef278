//! `TracingSink`: the fields of a span, and the events in it.

use serde_json::json;
use toolbooth::events::{EventsLayer, TracingSink};
use toolbooth::{CallContext, TimeoutLayer, ToolCall, ToolSpec, Toolbox, tool_fn};
use tower::{Layer, ServiceBuilder, ServiceExt};
use tracing::Level;

use crate::recorded::Recorded;
use crate::support::{ScriptedTool, call, call_all, error_of, ms, text_of};

fn traced() -> EventsLayer {
    EventsLayer::new(TracingSink::new())
}

#[tokio::test(start_paused = true)]
async fn span_has_the_fields_of_the_conventions() {
    let (recorded, _guard) = Recorded::start();
    let search = tool_fn("search", async |_: ()| {
        tokio::time::sleep(ms(1_500)).await;
        Ok::<_, std::io::Error>("3 matches")
    });
    let call = ToolCall::new("search", json!(null))
        .with_id("call_7")
        .with_tenant("acme");
    text_of(traced().layer(search), call).await;

    let span = recorded.only();
    let expected = [
        ("error.type", None),
        ("gen_ai.operation.name", Some("execute_tool")),
        ("gen_ai.tool.call.arguments", None),
        ("gen_ai.tool.call.id", Some("call_7")),
        ("gen_ai.tool.call.result", None),
        ("gen_ai.tool.description", None),
        ("gen_ai.tool.name", Some("search")),
        ("gen_ai.tool.type", None),
        ("otel.kind", Some("internal")),
        ("otel.name", Some("execute_tool search")),
        ("otel.status_code", None),
        ("parent_span_id", None),
        ("toolbooth.attempt", Some("1")),
        ("toolbooth.duration", Some("1.5")),
        ("toolbooth.outcome", Some("completed")),
        ("toolbooth.tenant", Some("acme")),
        ("toolbooth.wait.concurrency", Some("0.0")),
        ("toolbooth.wait.rate", Some("0.0")),
        ("toolbooth.wait.total", Some("0.0")),
        ("trace_id", None),
    ];
    assert_eq!((span.name, span.parent), ("execute_tool", None));
    for (field, value) in expected {
        assert_eq!(span.get(field), value, "{field}");
    }
    let known = expected.iter().filter(|(_, value)| value.is_some()).count();
    assert_eq!(span.fields.len(), known, "{span:#?}");
}

#[tokio::test(start_paused = true)]
async fn known_tool_has_its_type_and_the_start_of_its_description() {
    let (recorded, _guard) = Recorded::start();
    let long = ToolSpec::new("long").with_description("é".repeat(1_000));
    let tool = || tool_fn("tool", async |_: ()| Ok::<_, std::io::Error>(()));
    let toolbox = Toolbox::builder()
        .tool(
            ToolSpec::new("short").with_description("Finds\nfiles"),
            tool(),
        )
        .tool(long, tool())
        .tool("bare", tool())
        .build()
        .unwrap();
    let tools = toolbox.clone();
    let sink = TracingSink::new().with_specs(move |name| Some(tools.get(name)?.spec().clone()));
    let toolbox = EventsLayer::new(sink).layer(toolbox);
    for name in ["short", "long", "bare", "unknown"] {
        let _ = toolbox.clone().oneshot(toolbooth_test::call(name)).await;
    }
    let spans = recorded.spans();
    let kinds = spans.iter().map(|span| span.get("gen_ai.tool.type"));
    let function = Some("function");
    assert_eq!(
        kinds.collect::<Vec<_>>(),
        [function, function, function, None]
    );
    let described: Vec<_> = spans
        .iter()
        .map(|span| span.get("gen_ai.tool.description"))
        .collect();
    let shortened = format!("{}…", "é".repeat(512));
    assert_eq!(
        described,
        [Some("Finds\u{fffd}files"), Some(&*shortened), None, None]
    );
}

#[tokio::test(start_paused = true)]
async fn events_are_in_the_span_at_the_documented_levels() {
    let (recorded, _guard) = Recorded::start();
    let tool = tool_fn("tool", async |call: CallContext, _: ()| {
        call.progress(1, 2, "secret");
        call.heartbeat();
        call.emit("secret");
        std::future::pending::<Result<(), std::io::Error>>().await
    });
    let tool = ServiceBuilder::new()
        .layer(traced())
        .layer(TimeoutLayer::new(ms(2_000)))
        .service(tool);
    error_of(tool, call()).await;

    let span = recorded.only();
    let events: Vec<_> = span
        .events
        .iter()
        .map(|(level, fields)| (*level, format!("{fields:?}")))
        .collect();
    let expected = [
        (Level::DEBUG, r#"{"message": "tool.started"}"#),
        (
            Level::DEBUG,
            r#"{"done": "1", "message": "tool.progress", "total": "2"}"#,
        ),
        (Level::TRACE, r#"{"message": "tool.heartbeat"}"#),
        (Level::DEBUG, r#"{"message": "tool.first_item"}"#),
        (Level::TRACE, r#"{"bytes": "6", "message": "tool.partial"}"#),
        // The layer's own.
        (
            Level::DEBUG,
            r#"{"call_id": "id", "layer": "timeout", "limit": "2s", "message": "timed out", "scope": "total", "tool": "tool", "waited": "2s"}"#,
        ),
        (
            Level::WARN,
            r#"{"layer": "timeout", "limit": "2s", "message": "tool.timed_out", "overshoot": "0ns", "started": "true"}"#,
        ),
    ];
    let id = span.get("gen_ai.tool.call.id").unwrap();
    let events: Vec<_> = events
        .iter()
        .map(|(level, event)| (*level, event.replace(id, "id")))
        .collect();
    let events: Vec<_> = events
        .iter()
        .map(|(level, event)| (*level, &**event))
        .collect();
    assert_eq!(events, expected);
}

#[tokio::test(start_paused = true)]
async fn concurrent_calls_do_not_mix() {
    let (recorded, _guard) = Recorded::start();
    let tool = ScriptedTool::new(|call: ToolCall| async move {
        let at = call.args()["at"].as_u64().unwrap();
        for _ in 0..3 {
            tokio::time::sleep(ms(at)).await;
            tracing::info!(at, "mine");
        }
        Ok(toolbooth::ToolOutput::text("done"))
    });
    let calls =
        (1..=20_u64).map(|at| ToolCall::new("tool", json!({ "at": at })).with_id(at.to_string()));
    call_all(traced().layer(tool), calls).await;

    let spans = recorded.spans();
    assert_eq!(spans.len(), 20);
    for span in spans {
        let id = span.get("gen_ai.tool.call.id").unwrap();
        let mine = span
            .events
            .iter()
            .filter_map(|(_, fields)| fields.get("at"));
        assert_eq!(mine.collect::<Vec<_>>(), [id; 3]);
        assert_eq!(
            span.messages(),
            ["tool.started", "mine", "mine", "mine", "tool.completed"]
        );
        assert_eq!(span.closed, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn panic_while_a_span_is_made_does_not_touch_the_call() {
    let (recorded, _guard) = Recorded::start();
    let sink = TracingSink::new().with_specs(|_| std::panic::resume_unwind(Box::new("boom")));
    let tool = EventsLayer::new(sink).layer(ScriptedTool::ready());
    tool.oneshot(call()).await.unwrap();
    assert!(recorded.spans().is_empty());
}

/// Nothing is open once a call has ended, although a handle to its context is kept.
#[tokio::test(start_paused = true)]
async fn kept_context_does_not_keep_the_span_open() {
    let (recorded, _guard) = Recorded::start();
    let call = call();
    let context = call.context().clone();
    let tool = ScriptedTool::new(|_| async { Ok(toolbooth::ToolOutput::text("done")) });
    text_of(traced().layer(tool), call).await;
    assert_eq!(recorded.open(), 0);
    assert_eq!(
        recorded.only().get("gen_ai.tool.call.id"),
        Some(context.id().as_str())
    );
}
