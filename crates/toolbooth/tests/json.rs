//! The documented JSON of calls, contents, responses, partial results and errors.

mod support;

use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use support::{error_of, ms};
use toolbooth::{
    CallContext, CancelReason, Collected, Content, ErrorKind, ErrorReport, MAX_JSON_DEPTH,
    MAX_NAME, OverloadReason, Partial, PartialResultLayer, Quota, RateLimitLayer, TimeoutLayer,
    TimeoutScope, ToolCall, ToolError, ToolOutput, tool_fn,
};
use tower::{Layer, ServiceBuilder, ServiceExt};

/// Any JSON, with floats that `serde_json` reads exactly.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i32>().prop_map(|eighths| json!(f64::from(eighths) / 8.0)),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(".{0,6}", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn any_content() -> impl Strategy<Value = Content> {
    prop_oneof![
        ".{0,24}".prop_map(Content::from),
        any_json().prop_map(Content::from),
        ("[a-z]{1,8}/[a-z]{1,8}", any::<Vec<u8>>())
            .prop_map(|(media_type, bytes)| Content::data(media_type, bytes)),
    ]
}

/// Returns the object without the fields that are null, 0 or false, which are not written.
fn set_fields(mut object: Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.retain(|_, value| !matches!(value.to_string().as_str(), "null" | "0" | "false"));
    }
    object
}

/// Reads text and writes it again.
fn rewritten<T: serde::Serialize + serde::de::DeserializeOwned>(value: &Value) -> Value {
    let read: T = serde_json::from_str(&value.to_string()).expect("the documented JSON");
    serde_json::to_value(read).expect("it serializes")
}

proptest! {
    #[test]
    fn call_is_the_same_after_a_round_trip(
        (name, id, args) in (".{0,60}", ".{0,60}", any_json()),
        (tenant, idempotent) in any::<(Option<u8>, Option<bool>)>(),
        (priority, max_depth) in any::<(i32, Option<u32>)>(),
        timeouts in any::<[Option<u64>; 3]>(),
    ) {
        let mut written = set_fields(json!({
            "tenant": tenant.map(|tenant| format!("tenant-{tenant}")),
            "priority": priority,
        }));
        written["name"] = json!(name);
        written["id"] = json!(id);
        written["args"] = args;
        for (field, value) in [
            ("idempotent", json!(idempotent)),
            ("max_depth", json!(max_depth)),
            ("timeout_ms", json!(timeouts[0])),
            ("idle_timeout_ms", json!(timeouts[1])),
            ("first_item_timeout_ms", json!(timeouts[2])),
        ] {
            if !value.is_null() {
                written[field] = value;
            }
        }
        prop_assert_eq!(rewritten::<ToolCall>(&written), written);
    }

    #[test]
    fn content_is_the_same_after_a_round_trip(content in any_content()) {
        let text = serde_json::to_string(&content).unwrap();
        prop_assert_eq!(serde_json::from_str::<Content>(&text).unwrap(), content);
    }

    #[test]
    fn response_is_the_same_after_a_round_trip(
        contents in prop::collection::vec(any_content(), 0..4),
        (is_error, line_ends) in any::<(bool, bool)>(),
        meta in any_json(),
    ) {
        let mut written = set_fields(json!({ "is_error": is_error, "line_ends": line_ends }));
        written["contents"] = json!(contents);
        written["meta"] = json!({ "key": meta });
        prop_assert_eq!(rewritten::<Collected>(&written), written);
    }

    #[test]
    fn partial_result_is_the_same_after_a_round_trip(
        contents in prop::collection::vec(any_content(), 0..4),
        snapshot in prop::option::of(any_content()),
        (dropped, delivered) in any::<(u64, u64)>(),
        progress in any::<Option<(u64, Option<u64>, Option<u8>)>>(),
    ) {
        let progress = progress.map(|(done, total, message)| {
            let message = message.map(|message| format!("file {message}"));
            let mut progress = json!({ "done": done });
            if let Some(total) = total {
                progress["total"] = json!(total);
            }
            if let Some(message) = message {
                progress["message"] = json!(message);
            }
            progress
        });
        let mut written = set_fields(json!({
            "snapshot": snapshot,
            "progress": progress,
            "dropped": dropped,
            "delivered": delivered,
        }));
        written["contents"] = json!(contents);
        prop_assert_eq!(rewritten::<Partial>(&written), written);
    }
}

// === calls

#[test]
fn name_is_enough_for_a_call() {
    let call: ToolCall = serde_json::from_str(r#"{ "name": "list", "added_later": 1 }"#).unwrap();
    assert_eq!((call.name(), call.args()), ("list", &Value::Null));
    assert!(call.context().id().starts_with("call-"));
    let written = json!({ "name": "list", "args": null, "id": &*call.context().id() });
    assert_eq!(serde_json::to_value(&call).unwrap(), written);
    let error = serde_json::from_str::<ToolCall>(r#"{ "args": {} }"#).unwrap_err();
    assert!(
        error.to_string().starts_with("missing field `name`"),
        "{error}"
    );
}

/// The clock of the reader need not be the clock of the writer.
#[tokio::test(start_paused = true)]
async fn time_until_the_deadline_is_written_and_counts_from_reading() {
    let deadline = tokio::time::Instant::now() + ms(5_000);
    let call = ToolCall::new("list", json!(null)).with_deadline(deadline);
    tokio::time::advance(ms(1_200)).await;
    let written = serde_json::to_string(&call).unwrap();
    assert!(written.contains(r#""remaining_ms":3800"#), "{written}");
    tokio::time::advance(ms(10_000)).await;
    let read: ToolCall = serde_json::from_str(&written).unwrap();
    assert_eq!(read.context().remaining(), Some(ms(3_800)));
    let late = serde_json::to_value(&call).unwrap();
    assert_eq!(late["remaining_ms"], 0);
    let endless = json!({ "name": "list", "remaining_ms": u64::MAX });
    let endless: ToolCall = serde_json::from_value(endless).unwrap();
    assert!(
        endless
            .context()
            .remaining()
            .is_none_or(|left| left > Duration::from_secs(1 << 32))
    );
}

#[test]
fn names_of_a_call_are_bounded() {
    let (longest, longer) = ("n".repeat(MAX_NAME), "n".repeat(1 << 20));
    for field in ["name", "id", "tenant"] {
        let mut call = json!({ "name": "list" });
        call[field] = json!(longest);
        assert_eq!(rewritten::<ToolCall>(&call)[field], longest);
        call[field] = json!(longer);
        let error = serde_json::from_str::<ToolCall>(&call.to_string()).unwrap_err();
        let text = "invalid length 1048576, expected a text of at most 256 bytes";
        assert!(error.to_string().starts_with(text), "{error}");
    }
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(Value::Null, |inner, _| Value::Array(vec![inner]))
}

#[test]
fn what_nests_deep_is_a_typed_error_and_overflows_no_stack() {
    let text = format!(r#"{{ "name": "list", "args": {}1 }}"#, "[".repeat(10_000));
    let error = serde_json::from_str::<ToolCall>(&text).unwrap_err();
    assert!(
        error.to_string().starts_with("recursion limit exceeded"),
        "{error}"
    );

    let fits = Content::Json(nested(MAX_JSON_DEPTH));
    assert_eq!(fits.to_text().len(), 2 * MAX_JSON_DEPTH + "null".len());
    assert!(serde_json::to_string(&fits).is_ok());
    for levels in [MAX_JSON_DEPTH + 1, 10_000] {
        let deep = Content::Json(nested(levels));
        let text = "a JSON value that nests deeper than 128 levels";
        assert_eq!(serde_json::to_string(&deep).unwrap_err().to_string(), text);
        assert_eq!(deep.to_text(), format!("[{text}]"));
        let call = ToolCall::new("list", nested(levels));
        assert_eq!(serde_json::to_string(&call).unwrap_err().to_string(), text);
    }
}

// === contents

#[test]
fn content_of_an_unknown_type_or_with_invalid_bytes_is_an_error() {
    for (content, text) in [
        (json!({ "type": "video" }), "unknown variant `video`"),
        (json!({ "text": "no type" }), "missing field `type`"),
        (
            json!({ "type": "data", "media_type": "a/b", "data": "?" }),
            "Invalid",
        ),
    ] {
        let error = serde_json::from_value::<Content>(content).unwrap_err();
        assert!(error.to_string().starts_with(text), "{error}");
    }
}

#[tokio::test]
async fn metadata_and_line_ends_are_in_the_json_of_a_response() {
    let lines = vec!["one".into(), "two".into()];
    let output = ToolOutput::contents(lines).with_line_ends();
    let collected = output.with_meta("exit_code", 0).collect().await.unwrap();
    let written = json!({
        "contents": [{ "type": "text", "text": "one" }, { "type": "text", "text": "two" }],
        "line_ends": true,
        "meta": { "exit_code": 0 },
    });
    assert_eq!(serde_json::to_value(&collected).unwrap(), written);
    let read: Collected = serde_json::from_value(written).unwrap();
    assert_eq!(read.text(), "one\ntwo");
}

// === errors

fn one_of_each_kind() -> Vec<ToolError> {
    vec![
        ToolError::timeout(TimeoutScope::Total, ms(50), ms(51)),
        ToolError::cancelled(CancelReason::Explicit),
        ToolError::rate_limited(ms(40)),
        ToolError::overloaded(OverloadReason::queue_full(9)),
        ToolError::circuit_open(ms(40)),
        ToolError::panicked("hunter2"),
        ToolError::invalid_arguments("pages", "missing"),
        ToolError::unknown_tool("serach"),
        ToolError::too_deep(5),
        ToolError::failed("hunter2"),
    ]
}

#[test]
fn each_error_is_the_same_report_after_a_round_trip() {
    for error in one_of_each_kind() {
        let written = serde_json::to_value(&error).unwrap();
        assert_eq!(written["kind"], error.kind().as_str());
        assert_eq!(written["message"], error.public_message());
        let report: ErrorReport = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(report, error.report());
        assert_eq!(rewritten::<ErrorReport>(&written), written);
        assert!(!written.to_string().contains("hunter2"), "{written}");
    }
    let unknown = serde_json::from_value::<ErrorKind>(json!("tired"));
    assert!(unknown.is_err(), "{unknown:?}");
}

#[tokio::test(start_paused = true)]
async fn report_of_a_timeout_has_the_call_and_its_partial_result() {
    async fn crawl(call: CallContext, _: Value) -> Result<(), ToolError> {
        call.emit("page 1");
        call.progress(1, 10, None);
        std::future::pending().await
    }
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ms(50)).with_name("attempt"))
        .layer(PartialResultLayer::new())
        .service(tool_fn("crawl", crawl));
    let secret = json!({ "token": "hunter2" });
    let call = ToolCall::new("crawl", secret)
        .with_id("call_1")
        .with_tenant("acme");
    let error = stack.oneshot(call).await.expect_err("a timeout");
    let for_client = json!({
        "kind": "timeout",
        "message": "the call timed out",
        "started": true,
        "retryable": true,
        "tool": "crawl",
        "call_id": "call_1",
        "partial": {
            "contents": [{ "type": "text", "text": "page 1" }],
            "progress": { "done": 1, "total": 10 },
        },
    });
    let mut written = for_client.clone();
    written["layer"] = json!("attempt");
    written["layer_kind"] = json!("timeout");
    written["limit_ms"] = json!(50);
    assert_eq!(serde_json::to_value(&error).unwrap(), written);
    assert_eq!(
        serde_json::to_value(error.report().for_client()).unwrap(),
        for_client
    );
}

#[tokio::test(start_paused = true)]
async fn limit_of_a_rejection_is_for_the_operator() {
    let limit = RateLimitLayer::new(Quota::per_second(NonZeroU32::MIN)).reject();
    let tool = limit.layer(tool_fn("list", async |_: ()| Ok::<_, ToolError>("done")));
    let call = ToolCall::new("list", json!(null)).with_id("call_1");
    tool.clone().oneshot(call.clone()).await.expect("the first");
    let error = error_of(tool, call).await;
    let for_client = json!({
        "kind": "rate_limited",
        "message": "too many calls, try again in 1s",
        "started": false,
        "retryable": true,
        "retry_after_ms": 1_000,
        "tool": "list",
        "call_id": "call_1",
    });
    let mut written = for_client.clone();
    written["layer"] = json!("rate");
    written["layer_kind"] = json!("rate");
    written["limit"] = json!(error.limit().expect("a limit"));
    assert_eq!(serde_json::to_value(&error).unwrap(), written);
    assert_eq!(
        serde_json::to_value(error.report().for_client()).unwrap(),
        for_client
    );
}
