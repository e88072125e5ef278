//! `TracingSink`: what the parent of a span is.

use std::sync::{Arc, Mutex};

use http::{Request, Response};
use serde_json::json;
use toolbooth::events::{EventsLayer, TraceContext, TracingSink};
use toolbooth::{
    BoxError, CallContext, RetryPolicy, ToolCall, ToolError, ToolOutput, ToolRequest, tool_fn,
};
use tower::retry::RetryLayer;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

use crate::recorded::Recorded;
use crate::support::{Recorder, ScriptedTool, error_of, text_of};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn trace() -> TraceContext {
    TraceContext::parse(PARENT, Some("vendor=a1")).expect("valid")
}

/// A sink, and the parents that its hook received.
fn with_parents() -> (TracingSink, Arc<Mutex<Vec<String>>>) {
    let parents = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&parents);
    let sink = TracingSink::new().with_parent(move |span, trace| {
        assert!(!span.is_disabled());
        seen.lock()
            .expect("no panic under it")
            .push(trace.to_string());
    });
    (sink, parents)
}

#[tokio::test(start_paused = true)]
async fn span_is_a_child_of_the_current_span() {
    let (recorded, _guard) = Recorded::start();
    let tool = ScriptedTool::new(|_| async { Ok(ToolOutput::text("done")) });
    let mut tool = EventsLayer::new(TracingSink::new()).layer(tool);
    let request = tracing::info_span!("request");
    let future = request.in_scope(|| tool.call(toolbooth_test::call("tool")));
    // Polled elsewhere: the parent is the span of the call.
    future.await.unwrap();
    drop(request);
    assert_eq!(recorded.spans()[1].parent, Some(0));
}

#[tokio::test(start_paused = true)]
async fn trace_context_of_a_call_is_its_parent() {
    let (recorded, _guard) = Recorded::start();
    let (sink, parents) = with_parents();
    let tool = tool_fn("tool", async |call: CallContext, _: ()| {
        let trace = call.extension::<TraceContext>().ok_or("no trace")?;
        Ok::<_, &str>(format!("{trace} {}", trace.tracestate()))
    });
    let call = ToolCall::new("tool", json!(null)).with_extension(trace());
    let passed_on = text_of(EventsLayer::new(sink).layer(tool), call).await;
    assert_eq!(passed_on, format!("{PARENT} vendor=a1"));
    assert_eq!(*parents.lock().unwrap(), [PARENT]);
    let span = recorded.only();
    assert_eq!(
        span.get("trace_id"),
        Some("4bf92f3577b34da6a3ce929d0e0e4736")
    );
    assert_eq!(span.get("parent_span_id"), Some("00f067aa0ba902b7"));
}

#[tokio::test(start_paused = true)]
async fn headers_of_a_request_are_the_trace_context_unless_they_are_invalid() {
    let (_recorded, _guard) = Recorded::start();
    let (sink, parents) = with_parents();
    let seen = Recorder::new();
    let recorder = seen.clone();
    let service = tower::service_fn(move |mut request: Request<()>| {
        let trace = request.context().extension::<TraceContext>();
        recorder.record(trace.map(ToString::to_string));
        std::future::ready(Ok::<_, ToolError>(Response::new(String::new())))
    });
    let service = EventsLayer::new(sink).layer(service);
    for parent in [PARENT, "", &PARENT.to_uppercase()] {
        let request = Request::get("/").header("traceparent", parent);
        let request = request.body(()).unwrap();
        service.clone().oneshot(request).await.unwrap();
    }
    assert_eq!(seen.values(), [Some(PARENT.to_owned()), None, None]);
    assert_eq!(*parents.lock().unwrap(), [PARENT]);
}

/// Attempts and child calls nest in the current span, and not in that of the process before.
#[tokio::test(start_paused = true)]
async fn attempts_and_child_calls_nest_in_the_current_span() {
    let (recorded, _guard) = Recorded::start();
    let (sink, parents) = with_parents();
    let traced = EventsLayer::new(sink);
    let inner = traced.layer(ScriptedTool::new(|_| async {
        Ok(ToolOutput::text("done"))
    }));
    let outer = tool_fn("outer", move |call: CallContext, (): ()| {
        let mut inner = inner.clone();
        async move {
            let own = tracing::info_span!("own");
            let id = format!("child of {}", call.attempt());
            let child = call.child("inner", json!(null))?.with_id(id);
            let response = own.in_scope(|| inner.call(child));
            response.await?.collect().await?;
            Err::<(), BoxError>("again".into())
        }
    });
    let stack = ServiceBuilder::new()
        .layer(traced.clone())
        .layer(RetryLayer::new(RetryPolicy::new(2).with_idempotent(true)))
        .layer(traced)
        .service(outer);
    let call = ToolCall::new("outer", json!(null))
        .with_id("outer")
        .with_extension(trace());
    error_of(stack, call).await;

    let tree = recorded.tree();
    let tree: Vec<_> = tree
        .iter()
        .map(|(span, parent)| (&**span, parent.as_deref()))
        .collect();
    let expected = [
        ("outer", None),
        ("outer", Some("outer")),
        ("own", Some("outer")),
        ("child of 1", Some("own")),
        ("outer", Some("outer")),
        ("own", Some("outer")),
        ("child of 2", Some("own")),
    ];
    assert_eq!(tree, expected);
    let spans = recorded.spans();
    let attempts: Vec<_> = spans
        .iter()
        .filter_map(|span| span.get("toolbooth.attempt"))
        .collect();
    assert_eq!(attempts, ["1", "1", "1", "2", "1"]);
    assert_eq!((spans[1].parent, spans[4].parent), (Some(0), Some(0)));
    assert_eq!(*parents.lock().unwrap(), [PARENT]);
    assert_eq!(recorded.open(), 0);
}
