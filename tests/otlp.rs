//! The spans of tool calls as a collector of OTLP receives them, from the example `otlp`.

use std::collections::BTreeMap;

use toolbooth_examples::otlp::{Span, TRACEPARENT, traced_report};

/// One program: the subscriber is that of the whole process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn collector_receives_nested_spans_with_a_wait_a_retry_and_an_error() {
    let spans = traced_report().await.expect("the report is made");
    let mut by_id: BTreeMap<&str, Vec<&Span>> = BTreeMap::new();
    for span in &spans {
        let id = span
            .get("gen_ai.tool.call.id")
            .expect("each span is of a call");
        by_id.entry(id).or_default().push(span);
    }
    let counts: Vec<_> = by_id.iter().map(|(id, spans)| (*id, spans.len())).collect();
    let expected = [
        ("archive", 1),
        ("fetch", 3),
        ("report", 1),
        ("search-1", 1),
        ("search-2", 1),
    ];
    assert_eq!(counts, expected);

    for (id, tool) in [
        ("report", "report"),
        ("search-1", "search"),
        ("fetch", "fetch"),
    ] {
        let span = by_id[id][0];
        assert_eq!(span.name, format!("execute_tool {tool}"));
        assert_eq!(span.get("gen_ai.tool.name"), Some(tool));
    }
    for span in &spans {
        assert_eq!(span.get("gen_ai.operation.name"), Some("execute_tool"));
        assert_eq!(span.get("toolbooth.tenant"), Some("acme"));
        assert!(span.is_internal);
    }
    check_parents(&spans, by_id["report"][0]);
    check_ends(&spans);
    check_waits(by_id["search-1"][0], by_id["search-2"][0]);
    check_attempts(&by_id["fetch"], &spans);
}

/// The root continues the trace of the other process; the calls that it makes are its children.
fn check_parents(spans: &[Span], report: &Span) {
    let remote: Vec<_> = TRACEPARENT.split('-').collect();
    assert_eq!([&*report.trace_id, &*report.parent_id], remote[1..3]);
    assert_eq!(report.get("parent_span_id"), Some(remote[2]));
    for span in spans.iter().filter(|span| span.id != report.id) {
        assert_eq!(span.trace_id, report.trace_id);
        assert_eq!(span.get("parent_span_id"), None);
        let is_attempt = span.parent_id != report.id;
        let parent = span.parent_in(spans).expect("received as well");
        assert_eq!(is_attempt, parent.name == "execute_tool fetch", "{span:?}");
    }
}

/// Only a failure has a status and a type.
fn check_ends(spans: &[Span]) {
    for span in spans {
        let outcome = span.get("toolbooth.outcome").expect("each call has ended");
        let error = (outcome == "failed").then_some("tool_error");
        assert_eq!(
            (span.get("error.type"), span.is_error),
            (error, error.is_some())
        );
    }
    let failed = spans.iter().filter(|span| span.is_error);
    let mut failed: Vec<_> = failed.map(|span| &*span.name).collect();
    failed.sort_unstable();
    assert_eq!(failed, ["execute_tool archive", "execute_tool fetch"]);
}

/// Of two calls at once the second waits for the permit, for at least 50 ms, and runs for 50 ms.
fn check_waits(first: &Span, second: &Span) {
    let number = |span: &Span, name: &str| -> f64 {
        let number = span.get(name).expect("each call has it");
        number.parse().expect("a number")
    };
    let wait = |span, of| number(span, &format!("toolbooth.wait.{of}"));
    assert_eq!((wait(first, "total"), wait(second, "rate")), (0.0, 0.0));
    assert!(wait(second, "total") >= 0.05, "{second:?}");
    assert_eq!(
        wait(second, "total").to_bits(),
        wait(second, "concurrency").to_bits()
    );
    assert_eq!(second.events[..2], ["tool.queued", "tool.admitted"]);
    assert!(number(second, "toolbooth.duration") >= 0.1, "{second:?}");
}

/// Around the retry there is one span, and inside of it one for each attempt.
fn check_attempts(fetch: &[&Span], spans: &[Span]) {
    let inside = |span: &Span| {
        span.parent_in(spans)
            .is_some_and(|parent| parent.name == span.name)
    };
    let attempts = fetch.iter().filter(|span| inside(span));
    let mut attempts: Vec<_> = attempts
        .map(|span| (span.get("toolbooth.attempt"), span.get("toolbooth.outcome")))
        .collect();
    attempts.sort_unstable();
    let expected = [("1", "failed"), ("2", "completed")];
    assert_eq!(
        attempts,
        expected.map(|(number, outcome)| (Some(number), Some(outcome)))
    );
    let around = fetch
        .iter()
        .find(|span| !inside(span))
        .expect("the call as a whole");
    assert_eq!(around.get("toolbooth.outcome"), Some("completed"));
    let retries = around.events.iter().filter(|event| *event == "tool.retry");
    assert_eq!(retries.count(), 1);
}
