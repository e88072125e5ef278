//! `TracingSink`: the end of a span, for every end of a call.

use std::num::NonZeroU32;

use tokio_test::{assert_pending, task};
use toolbooth::events::{EventsLayer, TracingSink};
use toolbooth::{
    CatchPanicLayer, CircuitBreakerLayer, Content, Quota, RateLimitLayer, TimeoutLayer, ToolError,
    ToolOutput,
};
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

use crate::recorded::{Recorded, RecordedSpan};
use crate::support::{ScriptedTool, call, ms};

type Boxed = BoxCloneSyncService<toolbooth::ToolCall, ToolOutput, ToolError>;

fn traced() -> EventsLayer {
    EventsLayer::new(TracingSink::new())
}

/// What a span records of the end.
fn end_of(span: &RecordedSpan) -> (Option<&str>, Option<&str>, Option<&str>) {
    let get = |field| span.get(field);
    (
        get("toolbooth.outcome"),
        get("error.type"),
        get("otel.status_code"),
    )
}

fn ended(
    outcome: &'static str,
    error: &'static str,
) -> (
    Option<&'static str>,
    Option<&'static str>,
    Option<&'static str>,
) {
    (Some(outcome), Some(error), Some("ERROR"))
}

fn panics() -> ScriptedTool {
    ScriptedTool::new(|_| async { std::panic::resume_unwind(Box::new("boom")) })
}

/// Makes one call, and collects its response.
async fn end(
    tool: impl Service<toolbooth::ToolCall, Response = ToolOutput, Error = ToolError>,
) -> RecordedSpan {
    let (recorded, _guard) = Recorded::start();
    if let Ok(output) = tool.oneshot(call()).await {
        assert_eq!(recorded.open(), usize::from(output.is_stream()));
        let _ = output.collect().await;
    }
    recorded.only()
}

#[tokio::test(start_paused = true)]
async fn success_has_no_status_and_no_error() {
    let buffered = ScriptedTool::new(|_| async { Ok(ToolOutput::text("done")) });
    let span = end(traced().layer(buffered)).await;
    assert_eq!(end_of(&span), (Some("completed"), None, None));

    let streaming = ScriptedTool::new(|_| async {
        let items = ["a", "b"].map(|item| Ok::<_, ToolError>(Content::from(item)));
        Ok(ToolOutput::stream(futures_util::stream::iter(items)))
    });
    let span = end(traced().layer(streaming)).await;
    assert_eq!(end_of(&span), (Some("completed"), None, None));
    assert_eq!(
        span.messages(),
        [
            "tool.started",
            "tool.first_item",
            "tool.partial",
            "tool.partial",
            "tool.completed"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn failure_has_its_kind_and_the_status_error() {
    let reports = ScriptedTool::new(|_| async { Ok(ToolOutput::error("no such user")) });
    let span = end(traced().layer(reports)).await;
    assert_eq!(end_of(&span), ended("completed", "tool_error"));

    let fails = ScriptedTool::new(|_| async { Err("backend down".into()) });
    let span = end(traced().layer(fails)).await;
    assert_eq!(end_of(&span), ended("failed", "tool_error"));

    let stream_fails = ScriptedTool::new(|_| async {
        let items = [
            Ok(Content::from("a")),
            Err(ToolError::failed("backend down")),
        ];
        Ok(ToolOutput::stream(futures_util::stream::iter(items)))
    });
    let span = end(traced().layer(stream_fails)).await;
    assert_eq!(end_of(&span), ended("failed", "tool_error"));
}

#[tokio::test(start_paused = true)]
async fn expired_call_has_the_error_timeout_on_both_sides_of_its_timeout() {
    let timeout = TimeoutLayer::new(ms(2_000));
    for outside in [true, false] {
        let tool = ScriptedTool::pending();
        let tool = match outside {
            true => Boxed::new(traced().layer(timeout.layer(tool))),
            false => Boxed::new(timeout.layer(traced().layer(tool))),
        };
        let span = end(tool).await;
        assert_eq!(end_of(&span), ended("timed_out", "timeout"), "{outside}");
        assert_eq!(span.get("toolbooth.duration"), Some("2.0"));
    }
}

#[tokio::test(start_paused = true)]
async fn cancelled_and_dropped_calls_have_the_error_cancelled() {
    let (recorded, _guard) = Recorded::start();
    let tool = traced().layer(ScriptedTool::pending());
    let cancelled = call();
    let canceller = cancelled.canceller();
    let mut future = task::spawn(tool.clone().oneshot(cancelled));
    assert_pending!(future.poll());
    canceller.cancel();
    future.await.unwrap_err();
    assert_eq!(end_of(&recorded.only()), ended("cancelled", "cancelled"));

    let (recorded, _guard) = Recorded::start();
    let mut future = task::spawn(tool.clone().oneshot(call()));
    assert_pending!(future.poll());
    assert_eq!(recorded.open(), 1);
    drop(future);
    assert_eq!(end_of(&recorded.only()), ended("cancelled", "cancelled"));

    // Never polled.
    let (recorded, _guard) = Recorded::start();
    drop(tool.clone().call(call()));
    assert_eq!(end_of(&recorded.only()), ended("cancelled", "cancelled"));
}

#[tokio::test(start_paused = true)]
async fn rejected_call_has_the_kind_of_the_rejection() {
    let rate = RateLimitLayer::new(Quota::per_hour(NonZeroU32::MIN)).reject();
    let tool = rate.layer(ScriptedTool::new(|_| async {
        Ok(ToolOutput::text("done"))
    }));
    tool.clone().oneshot(call()).await.unwrap();
    let span = end(traced().layer(tool)).await;
    assert_eq!(end_of(&span), ended("rejected", "rate_limited"));

    let breaker = CircuitBreakerLayer::default();
    breaker.trip();
    let span = end(traced().layer(breaker.layer(ScriptedTool::pending()))).await;
    assert_eq!(end_of(&span), ended("rejected", "circuit_open"));
    let (_, rejected) = span.events.last().unwrap();
    assert_eq!(
        (&*rejected["message"], &*rejected["layer"]),
        ("tool.rejected", "breaker")
    );
}

#[tokio::test(start_paused = true)]
async fn panic_ends_the_span_whether_or_not_a_layer_catches_it() {
    let caught = ServiceBuilder::new()
        .layer(traced())
        .layer(CatchPanicLayer::new())
        .service(panics());
    assert_eq!(end_of(&end(caught).await), ended("panicked", "panicked"));

    let outside = ServiceBuilder::new()
        .layer(CatchPanicLayer::new())
        .layer(traced())
        .service(panics());
    let span = end(outside).await;
    assert_eq!(end_of(&span), ended("panicked", "panicked"));
    let current = tracing::Span::current();
    assert!(current.is_none(), "the unwinding has left the span");
}
