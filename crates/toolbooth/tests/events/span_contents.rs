//! `TracingSink`: contents are off by default; what comes from outside is bounded.

use serde_json::{Value, json};
use toolbooth::events::{EventsLayer, TracingSink};
use toolbooth::{Content, ToolCall, ToolError, ToolOutput};
use tower::Layer;

use crate::recorded::{Recorded, RecordedSpan};
use crate::support::{ScriptedTool, error_of, fails, text_of};

const ARGUMENTS: &str = "gen_ai.tool.call.arguments";
const RESULT: &str = "gen_ai.tool.call.result";

/// Makes a call whose tool emits an item and returns contents.
async fn traced(sink: TracingSink, call: ToolCall, contents: Vec<Content>) -> RecordedSpan {
    let (recorded, _guard) = Recorded::start();
    let tool = ScriptedTool::new(move |call: ToolCall| {
        let contents = contents.clone();
        async move {
            call.context().emit("item of a secret");
            Ok(ToolOutput::contents(contents))
        }
    });
    text_of(EventsLayer::new(sink).layer(tool), call).await;
    recorded.only()
}

#[tokio::test(start_paused = true)]
async fn contents_are_off_by_default() {
    let call = || ToolCall::new("tool", json!({ "key": "a secret" }));
    let contents = vec![Content::from("a secret"), Content::Json(json!([1, 2]))];
    let span = traced(TracingSink::new(), call(), contents.clone()).await;
    assert!(!format!("{span:?}").contains("secret"), "{span:#?}");

    let span = traced(TracingSink::new().with_contents(), call(), contents).await;
    assert_eq!(span.get(ARGUMENTS), Some(r#"{"key":"a secret"}"#));
    assert_eq!(span.get(RESULT), Some("a secret\n[1,2]"));
    let items: Vec<_> = span
        .events
        .iter()
        .filter_map(|(_, fields)| fields.get("content"))
        .collect();
    assert_eq!(items, ["item of a secret"]);
}

/// What a tool failed with may be secret, as its results.
#[tokio::test(start_paused = true)]
async fn error_with_its_causes_is_a_content() {
    let failure = || {
        let disk = std::io::Error::other("the disk of a secret is full");
        ToolError::failed(disk)
    };
    for (sink, expected) in [
        (TracingSink::new(), None),
        (
            TracingSink::new().with_contents(),
            Some("the tool failed: the disk of a secret is full"),
        ),
    ] {
        let (recorded, _guard) = Recorded::start();
        let tool = EventsLayer::new(sink).layer(fails(failure()));
        error_of(tool, ToolCall::new("tool", json!(null))).await;
        let span = recorded.only();
        assert_eq!(span.get("otel.status_description"), expected);
        assert_eq!(format!("{span:?}").contains("secret"), expected.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn huge_contents_are_shortened() {
    let nested = (0..100_000).fold(json!(1), |value, _| Value::Array(vec![value]));
    let text = "é".repeat(500_000);
    // Of the JSON, a quotation mark is the first byte: a letter of two bytes does not fit.
    let shortened = format!("\"{}…", "é".repeat(4_095));
    for (arguments, expected) in [
        (json!(text), shortened),
        (
            json!(vec![0; 500_000]),
            format!("[{}…", "0,".repeat(4_096)[..8_191].to_owned()),
        ),
    ] {
        let sink = TracingSink::new().with_contents();
        let contents = vec![
            Content::Json(arguments.clone()),
            Content::data("a/b", vec![0; 9]),
        ];
        let span = traced(sink, ToolCall::new("tool", arguments), contents).await;
        assert_eq!(span.get(ARGUMENTS), Some(&*expected));
        assert_eq!(span.get(RESULT), Some(&*expected));
    }
    let sink = TracingSink::new().with_contents();
    let contents = vec![Content::data("a/b", vec![0; 9]), Content::from(text)];
    let call = ToolCall::new("tool", nested);
    let args = call.shared_args();
    let span = traced(sink, call, contents).await;
    assert_eq!(span.get(ARGUMENTS), Some("[nests too deep]"));
    let result = span.get(RESULT).unwrap();
    assert!(result.starts_with("[a/b, 9 bytes]\né"), "{result:.40}");
    assert_eq!(result.len(), 8_191 + "…".len());
    unnest(args);

    let nested = (0..1_000).fold(json!(1), |value, _| Value::Array(vec![value]));
    let sink = TracingSink::new().with_contents();
    let contents = vec![Content::Json(nested), Content::from("b")];
    let span = traced(sink, ToolCall::new("tool", json!(null)), contents).await;
    let result = span.get(RESULT).unwrap();
    assert!(
        result.starts_with("[a JSON value that nests deeper than "),
        "{result:.40}"
    );
    assert!(result.ends_with(" levels]\nb"), "{result:.80}");
}

/// Drops a value level by level: the drop of a nested value recurses.
fn unnest(value: std::sync::Arc<Value>) {
    let mut value = std::sync::Arc::into_inner(value).expect("the call has ended");
    while let Value::Array(mut values) = value {
        value = values.pop().unwrap_or_default();
    }
}

#[tokio::test(start_paused = true)]
async fn hostile_names_are_bounded_and_have_no_control_characters() {
    let huge = "n".repeat(1_000_000);
    let call = ToolCall::new(&huge, json!(null))
        .with_id("\u{1b}[31mred\r\n")
        .with_tenant("a\u{202e}b");
    let span = traced(TracingSink::new(), call, Vec::new()).await;
    let name = format!("{}…", "n".repeat(256));
    assert_eq!(span.get("gen_ai.tool.name"), Some(&*name));
    assert_eq!(
        span.get("otel.name"),
        Some(&*format!("execute_tool {name}"))
    );
    assert_eq!(
        span.get("gen_ai.tool.call.id"),
        Some("\u{fffd}[31mred\u{fffd}\u{fffd}")
    );
    assert_eq!(span.get("toolbooth.tenant"), Some("a\u{fffd}b"));
}
