//! Arguments, as models send them.

use std::collections::BTreeMap;
use std::io;

use proptest::prelude::*;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use toolbooth::{
    BoxError, Content, ErrorKind, Outcome, PartialResultLayer, ToolError, stream_tool_fn, tool_fn,
};
use tower::{Layer, ServiceExt};

use crate::support::{Outcomes, Probe, error_of, text_of};
use crate::{content_of, with};

#[derive(Debug, Deserialize)]
pub(crate) struct Search {
    pattern: String,
    filter: Filter,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Filter {
    tags: Vec<u8>,
}

/// The path and the message of the error for these arguments, which the handler must not see.
async fn invalid(args: Value) -> (String, String) {
    let probe = Probe::new();
    let handler = probe.clone();
    let tool = tool_fn("search", move |search: Search| {
        drop(handler.enter());
        std::future::ready(Ok::<_, io::Error>((search.pattern, search.filter.tags)))
    });
    let call = with(args);
    let outcomes = Outcomes::of(call.context());
    let rejected = error_of(PartialResultLayer::off().layer(tool), call).await;
    assert_eq!((probe.started(), rejected.is_retryable()), (0, false));
    assert_eq!(outcomes.all().await, [Outcome::Failed]);
    let ToolError::InvalidArguments { path, message, .. } = rejected else {
        unreachable!("{rejected:?}")
    };
    (path.to_string(), message.to_string())
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn invalid_argument_is_named_by_its_path() {
    let nested = json!({ "pattern": "x", "filter": { "tags": [1, 2, "three"] } });
    let as_text = Value::String(nested.to_string());
    let three = "invalid type: string \"three\", expected u8";
    for (args, path, start) in [
        (nested, "filter.tags[2]", three),
        (as_text, "filter.tags[2]", three),
        (
            json!({ "pattern": "x", "filter": {} }),
            "filter",
            "missing field `tags`",
        ),
        (
            json!({ "filter": { "tags": [300] }, "pattern": "x" }),
            "filter.tags[0]",
            "invalid value: integer `300`, expected u8",
        ),
        (json!([]), ".", ""),
        (json!(null), ".", "missing field `pattern`"),
    ] {
        let (actual, message) = invalid(args).await;
        assert_eq!(actual, path);
        assert!(message.starts_with(start), "{message}");
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn text_that_is_no_json_is_invalid() {
    for text in ["{", "{\"pattern\": \"x\"", "pattern=x", "{} {}", "\u{0}"] {
        assert!(!invalid(json!(text)).await.1.is_empty());
    }
    let complete = r#"{"pattern":"x","filter":{"tags":[1]}}"#;
    let (path, message) = invalid(json!(format!("{complete} and more"))).await;
    assert_eq!(path, ".");
    assert!(message.starts_with("trailing characters"), "{message}");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn arguments_given_as_json_text_are_parsed() {
    let tool = tool_fn("search", async |search: Search| {
        Ok::<_, io::Error>(format!("{} {:?}", search.pattern, search.filter.tags))
    });
    let args = json!(r#" {"pattern":"x","filter":{"tags":[1,2]}} "#);
    assert_eq!(text_of(tool, with(args)).await, "x [1, 2]");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn text_argument_of_a_handler_that_takes_text_is_not_parsed() {
    let echo = tool_fn("echo", async |text: String| Ok::<_, io::Error>(text));
    for plain in ["hello there", "{ not json", "line\nline"] {
        assert_eq!(text_of(echo.clone(), with(json!(plain))).await, plain);
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn ten_megabytes_of_arguments_are_parsed_like_any_other() {
    let length = tool_fn("length", async |text: String| {
        Ok::<_, io::Error>(text.len())
    });
    let ten = "x".repeat(10 << 20);
    let content = content_of(length, with(json!(ten))).await;
    assert_eq!(content, Content::Json(json!(10 << 20)));

    let wrong = json!({ "pattern": ten, "filter": { "tags": "none" } });
    assert_eq!(invalid(wrong.clone()).await.0, "filter.tags");
    assert_eq!(
        invalid(Value::String(wrong.to_string())).await.0,
        "filter.tags"
    );
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn deeply_nested_text_is_invalid_and_overflows_no_stack() {
    let tool = tool_fn("t", async |values: Vec<Value>| {
        Ok::<_, io::Error>(values.len())
    });
    let deep = "[".repeat(1 << 20);
    let rejected = error_of(tool, with(json!(deep))).await;
    assert_eq!(rejected.kind(), ErrorKind::InvalidArguments);
    let text = rejected.to_string();
    assert!(text.contains("recursion limit exceeded"), "{text}");
}

// === numbers

/// The arguments as the handler receives them, by the default policy or the lenient one.
async fn received<T>(args: Value, lenient: bool) -> Result<T, ToolError>
where
    T: DeserializeOwned + Send + 'static,
{
    let (sender, receiver) = std::sync::mpsc::channel();
    let tool = tool_fn("t", move |args: T| {
        sender.send(args).expect("the test receives it");
        std::future::ready(Ok::<_, io::Error>(()))
    });
    let tool = if lenient {
        tool.with_lenient_arguments()
    } else {
        tool
    };
    tool.oneshot(with(args)).await?;
    Ok(receiver.recv().expect("the handler was called"))
}

#[derive(Debug, Deserialize, PartialEq)]
enum Unit {
    Bytes(u64),
    Lines { count: i8 },
}

#[derive(Debug, Deserialize, PartialEq)]
struct Page {
    limit: u32,
    offset: Option<i64>,
    sizes: Vec<u8>,
    by_line: BTreeMap<u16, i128>,
    unit: Unit,
    rate: f64,
    #[serde(flatten)]
    window: Window,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Window {
    width: usize,
}

/// Case D1. A number with a zero fraction fits every integer type, however deep it is nested.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn number_with_a_zero_fraction_is_an_integer() {
    let args = json!({
        "limit": 30.0, "offset": -2.0, "sizes": [1.0, 2], "by_line": { "7": -0.0 },
        "unit": { "Lines": { "count": -3.0 } }, "rate": 4.0, "width": 5e1,
    });
    let expected = Page {
        limit: 30,
        offset: Some(-2),
        sizes: vec![1, 2],
        by_line: BTreeMap::from([(7, 0)]),
        unit: Unit::Lines { count: -3 },
        rate: 4.0,
        window: Window { width: 50 },
    };
    let text = Value::String(args.to_string());
    for args in [args, text] {
        let page: Page = received(args, false).await.unwrap();
        assert_eq!(page, expected);
    }
    assert_eq!(
        received::<u64>(json!(9007199254740992.0), false)
            .await
            .unwrap(),
        1 << 53
    );
    assert_eq!(
        received::<Unit>(json!({ "Bytes": 8.0 }), false)
            .await
            .unwrap(),
        Unit::Bytes(8)
    );
}

/// Case D1. A number that no integer is equal to, or that is rounded, is rejected.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn number_with_a_fraction_or_out_of_range_is_rejected() {
    for (number, message) in [
        (json!(30.5), "floating point `30.5`"),
        (json!(1e20), "floating point `1e+20`"),
        (
            json!(9007199254740994.0),
            "floating point `9007199254740994.0`",
        ),
        (json!(-1.0), "integer `-1`"),
        (json!(4294967296.0), "integer `4294967296`"),
    ] {
        let error = received::<BTreeMap<String, u32>>(json!({ "n": number }), false).await;
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArguments);
        assert!(
            error.to_string().starts_with("invalid arguments at `n`: "),
            "{error}"
        );
        assert!(error.to_string().contains(message), "{error}");
    }
}

/// Case D1. Where the arguments fit as they are, nothing is changed.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn number_stays_as_it_was_sent_where_it_fits() {
    let args = json!({ "a": 1.0, "b": [2.0], "c": "3.0" });
    assert_eq!(received::<Value>(args.clone(), false).await.unwrap(), args);
    assert_eq!(
        received::<(f64, f32)>(json!([1.0, 2]), false)
            .await
            .unwrap(),
        (1.0, 2.0)
    );
}

// === leniency

/// A recursive type does not overflow the stack: the texts within a text are bounded.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn texts_within_texts_are_parsed_to_a_bounded_depth() {
    #[derive(Debug, Deserialize)]
    struct Tree(Vec<Self>);

    fn depth(Tree(trees): &Tree) -> usize {
        1 + trees.iter().map(depth).max().unwrap_or(0)
    }

    let quoted = |levels: usize| {
        (0..levels).fold("[]".to_owned(), |inner, _| {
            let inner = Value::String(inner).to_string();
            format!("{}{inner}{}", "[".repeat(120), "]".repeat(120))
        })
    };
    for (levels, expected) in [(1, Some(121)), (2, Some(241)), (3, None), (10, None)] {
        let args = json!([quoted(levels)]);
        // On a thread of the runtime, whose stack is small.
        let received = tokio::spawn(received::<Tree>(args, true)).await.unwrap();
        let found = received.map(|tree| depth(&tree) - 1);
        assert_eq!(found.ok(), expected, "{levels}");
    }
}

/// Case D2. A text is parsed where another type is wanted, only if the tool is lenient.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn text_stands_for_the_wanted_type_if_the_tool_is_lenient() {
    #[derive(Debug, Deserialize, PartialEq)]
    struct Args {
        tags: Vec<String>,
        n: u32,
        ratio: Option<f64>,
        all: bool,
        window: Window,
        pair: (i8, Option<u8>),
        by_id: BTreeMap<u32, bool>,
        unit: Unit,
    }
    let args = json!({
        "tags": "[\"a\", \"1\"]", "n": "4", "ratio": " 0.5 ", "all": "true",
        "window": "{\"width\": \"7.0\"}", "pair": ["-1", null], "by_id": { "3": "false" },
        "unit": "{\"Bytes\": \"9\"}",
    });
    let expected = Args {
        tags: vec!["a".to_owned(), "1".to_owned()],
        n: 4,
        ratio: Some(0.5),
        all: true,
        window: Window { width: 7 },
        pair: (-1, None),
        by_id: BTreeMap::from([(3, false)]),
        unit: Unit::Bytes(9),
    };
    let text = Value::String(args.to_string());
    for args in [args, text] {
        assert_eq!(
            received::<Args>(args.clone(), true).await.unwrap(),
            expected
        );
        let rejected = received::<Args>(args, false).await.unwrap_err();
        assert_eq!(rejected.kind(), ErrorKind::InvalidArguments);
    }
    let count = stream_tool_fn("count", |to: u8| {
        futures_util::stream::iter((0..to).map(|_| Ok::<_, io::Error>(Content::from("."))))
    });
    let (strict, quoted) = (count.clone(), json!(" \"3\" "));
    assert_eq!(
        text_of(count.with_lenient_arguments(), with(quoted.clone())).await,
        "..."
    );
    assert_eq!(
        error_of(strict, with(quoted)).await.kind(),
        ErrorKind::InvalidArguments
    );
}

/// Case D2. A text that is wanted is never touched.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn text_that_is_wanted_is_never_parsed() {
    #[derive(Debug, Deserialize, PartialEq)]
    struct Args {
        text: String,
        maybe: Option<String>,
        letter: char,
        any: Value,
        n: u8,
    }
    let args = json!({
        "text": "[1]", "maybe": "null", "letter": "1", "any": { "x": "2" }, "n": "3",
    });
    let expected = Args {
        text: "[1]".to_owned(),
        maybe: Some("null".to_owned()),
        letter: '1',
        any: json!({ "x": "2" }),
        n: 3,
    };
    assert_eq!(received::<Args>(args, true).await.unwrap(), expected);
}

/// Case D2. What does not parse, or parses to the wrong type, is rejected as it was sent.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn text_that_does_not_parse_is_rejected_as_it_was_sent() {
    for (n, message) in [
        ("four", "invalid type: string \"four\", expected u8"),
        ("[4]", "invalid type: string \"[4]\", expected u8"),
        ("true", "invalid type: string \"true\", expected u8"),
        ("300", "invalid type: string \"300\", expected u8"),
        ("4.5", "invalid type: string \"4.5\", expected u8"),
    ] {
        let args = json!({ "n": [1, n] });
        let error = received::<BTreeMap<String, Vec<u8>>>(args, true)
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("invalid arguments at `n[1]`: {message}")
        );
    }
}

// === no parameters

/// Case D4. A tool without parameters ignores arguments.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn tool_without_parameters_ignores_arguments_unless_strict() {
    #[derive(Deserialize)]
    struct Nothing;
    #[derive(Deserialize)]
    struct NoFields {}

    let unit = tool_fn("t", async |(): ()| Ok::<_, io::Error>("ran"));
    let nothing = tool_fn("t", async |_: Nothing| Ok::<_, io::Error>("ran"));
    let no_fields = tool_fn("t", async |_: NoFields| Ok::<_, io::Error>("ran"));
    let dummy = json!({ "dummy": "x", "n": 1.0 });
    for args in [
        dummy.clone(),
        json!(dummy.to_string()),
        json!({}),
        json!(null),
        json!(""),
    ] {
        assert_eq!(text_of(unit.clone(), with(args.clone())).await, "ran");
        assert_eq!(text_of(nothing.clone(), with(args.clone())).await, "ran");
        assert_eq!(text_of(no_fields.clone(), with(args)).await, "ran");
    }
    let strict = unit.with_strict_arguments();
    assert_eq!(text_of(strict.clone(), with(json!({}))).await, "ran");
    for args in [dummy.clone(), json!(dummy.to_string()), json!([1])] {
        let rejected = error_of(strict.clone(), with(args)).await;
        assert_eq!(rejected.kind(), ErrorKind::InvalidArguments);
    }
    // An optional argument is one.
    let optional = received::<Option<Window>>(dummy, false).await;
    assert_eq!(optional.unwrap_err().kind(), ErrorKind::InvalidArguments);
}

// === broken JSON

/// Case D5. Broken JSON has a position; no path can be known.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn broken_json_is_located_by_its_position() {
    for (text, message) in [
        (
            "{\"pattern\":",
            "EOF while parsing a value at line 1 column 11",
        ),
        (
            "{\"filter\": {\"tags\": [1,\n 2,]}}",
            "trailing comma at line 2 column 4",
        ),
        (
            "{\"filter\": {\"tags\": [1, x]}}",
            "expected value at line 1 column 25",
        ),
        ("{\"pattern\" \"x\"}", "expected `:` at line 1 column 12"),
        ("{pattern: 1}", "key must be a string at line 1 column 2"),
    ] {
        assert_eq!(
            invalid(json!(text)).await,
            (".".to_owned(), message.to_owned())
        );
    }
}

// === any arguments

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        (-9..9_i32).prop_map(|n| Value::from(f64::from(n))),
        any::<f64>().prop_map(Value::from),
        "[a-z0-9\\[\\]{}\":. -]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c0-9]", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// What plain serde makes of a type is what a handler of that type receives.
fn agrees<T>(args: &Value) -> Result<(), TestCaseError>
where
    T: DeserializeOwned + PartialEq + std::fmt::Debug + Send + 'static,
{
    let Ok(plain) = serde_json::from_value::<T>(args.clone()) else {
        return Ok(());
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    for lenient in [false, true] {
        let received = runtime.block_on(received::<T>(args.clone(), lenient));
        prop_assert_eq!(&received.expect("it fits"), &plain);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn arguments_that_fit_are_received_as_serde_reads_them(args in any_json()) {
        // A text at the top is read as JSON.
        let args = json!([args]);
        agrees::<Value>(&args)?;
        agrees::<Vec<Option<f64>>>(&args)?;
        agrees::<(String,)>(&args)?;
        agrees::<Vec<BTreeMap<String, Value>>>(&args)?;
        agrees::<Vec<Vec<i32>>>(&args)?;
        agrees::<Vec<BTreeMap<u8, bool>>>(&args)?;
    }
}

// === on a task

/// Case G1. Each way to call a tool of a closure on a task that `tool_fn` documents compiles.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn tool_of_a_closure_is_called_on_a_task() {
    async fn named((): ()) -> Result<&'static str, BoxError> {
        Ok("named")
    }
    let boxed = tool_fn("t", |(): ()| async { Ok::<_, BoxError>("boxed") });
    let boxed = tokio::spawn(boxed.oneshot(with(json!(null))));
    let named = tool_fn("t", named);
    let named = tokio::spawn(async move { named.oneshot(with(json!(null))).await });
    let typed = tool_fn("t", |(): ()| async { Ok::<_, ToolError>("typed") });
    let typed = PartialResultLayer::new().layer(typed);
    let typed = tokio::spawn(async move { typed.oneshot(with(json!(null))).await });
    for (task, text) in [(boxed, "boxed"), (named, "named"), (typed, "typed")] {
        let output = task.await.unwrap().unwrap();
        assert_eq!(output.collect().await.unwrap().text(), text);
    }
}
