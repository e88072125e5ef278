//! The text that Prometheus scrapes from the example.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use futures_util::future::join_all;
use http_body_util::BodyExt;
use serde_json::json;
use toolbooth::ToolCall;
use toolbooth::events::metrics::DURATION_BUCKETS;
use toolbooth_examples::servers::metered;
use tower::ServiceExt;

/// What a scrape has: the type of each metric, and the value of each series.
struct Scrape {
    types: BTreeMap<String, String>,
    series: BTreeMap<String, f64>,
}

/// Parses the text format, in which each line is a comment, a type or a series.
fn parse(text: &str) -> Scrape {
    let (mut types, mut series) = (BTreeMap::new(), BTreeMap::new());
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            match (words.next(), words.next(), words.next()) {
                (Some("TYPE"), Some(name), Some(kind)) => {
                    assert_eq!(
                        types.insert(name.to_owned(), kind.to_owned()),
                        None,
                        "{name}"
                    );
                }
                (Some("HELP"), Some(_), Some(_)) => {}
                _ => unreachable!("a comment of another kind: {line}"),
            }
            continue;
        }
        let (name, value) = line.rsplit_once(' ').expect("a series has a value");
        let value: f64 = value.parse().expect("the value is a number");
        assert_eq!(series.insert(name.to_owned(), value), None, "{name}");
    }
    Scrape { types, series }
}

#[tokio::test(start_paused = true)]
async fn scrape_of_the_example_has_its_calls() {
    let (toolbox, route) = metered().unwrap();
    let crawl = |millis: u64| ToolCall::new("crawl", json!({ "millis": millis }));
    let two = [crawl(100), crawl(20)].map(|call| toolbox.clone().oneshot(call));
    assert!(join_all(two).await.iter().all(Result::is_ok));
    for call in [
        crawl(60_000),
        ToolCall::new("fail", json!(null)),
        ToolCall::new("a client's \"name\"", json!(null)),
    ] {
        assert!(toolbox.clone().oneshot(call).await.is_err());
    }

    let request = Request::get("/metrics").body(Body::empty()).unwrap();
    let response = route.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let text = response.into_body().collect().await.unwrap().to_bytes();
    let text = std::str::from_utf8(&text).unwrap();
    let Scrape { types, series } = parse(text);

    assert_eq!(types["toolbooth_calls_ended_total"], "counter", "{text}");
    assert_eq!(types["toolbooth_calls_in_flight"], "gauge");
    assert_eq!(types["gen_ai_execute_tool_duration_seconds"], "histogram");
    for (name, value) in [
        (r#"toolbooth_calls_invoked_total"#, 5.0),
        (
            r#"toolbooth_calls_started_total{gen_ai_tool_name="crawl"}"#,
            3.0,
        ),
        (
            r#"toolbooth_calls_ended_total{gen_ai_tool_name="crawl",toolbooth_outcome="completed"}"#,
            2.0,
        ),
        (
            r#"toolbooth_calls_ended_total{gen_ai_tool_name="crawl",error_type="timeout",toolbooth_outcome="timed_out"}"#,
            1.0,
        ),
        (
            r#"toolbooth_calls_ended_total{gen_ai_tool_name="fail",error_type="tool_error",toolbooth_outcome="failed"}"#,
            1.0,
        ),
        (
            r#"toolbooth_calls_ended_total{gen_ai_tool_name="other",error_type="unknown_tool",toolbooth_outcome="rejected"}"#,
            1.0,
        ),
        (
            r#"toolbooth_calls_in_flight{gen_ai_tool_name="crawl"}"#,
            0.0,
        ),
        (
            r#"gen_ai_execute_tool_duration_seconds_count{gen_ai_tool_name="crawl"}"#,
            2.0,
        ),
        (
            r#"gen_ai_execute_tool_duration_seconds_bucket{gen_ai_tool_name="crawl",le="0.08"}"#,
            0.0,
        ),
        (
            r#"gen_ai_execute_tool_duration_seconds_bucket{gen_ai_tool_name="crawl",le="0.16"}"#,
            2.0,
        ),
        (
            r#"toolbooth_queue_wait_seconds_count{toolbooth_layer_name="concurrency",toolbooth_layer_kind="concurrency",toolbooth_result="admitted"}"#,
            1.0,
        ),
    ] {
        assert_eq!(series.get(name), Some(&value), "{name} in\n{text}");
    }
    // The buckets are those of the constant, and one for all that is longer.
    let of_crawl = r#"gen_ai_execute_tool_duration_seconds_bucket{gen_ai_tool_name="crawl",le="#;
    let buckets = series.keys().filter(|name| name.starts_with(of_crawl));
    assert_eq!(buckets.count(), DURATION_BUCKETS.len() + 1);
    assert!(!text.contains("a client's"), "{text}");
}
