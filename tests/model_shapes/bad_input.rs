//! Arguments, names and ids of any size: a typed error, and the other calls of the message run.

use serde::Deserialize;
use serde_json::{Value, json};
use toolbooth::model::ModelResult;
use toolbooth::{ErrorKind, MAX_NAME, ToolError, tool_fn};

use super::{SHAPES, Shape};

const MIB: usize = 1 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    all: bool,
}

/// Runs a call with this id and name, and an ordinary one.
async fn run(shape: Shape, id: &str, name: &str, arguments: Value) -> ModelResult {
    let mut message = (shape.message)(vec![
        (shape.item)(id, name, Value::Null),
        (shape.item)("call_2", "list", json!(r#"{"all": true}"#)),
    ]);
    // Moved: a copy of a value that nests deep overflows the stack.
    let place = message.pointer_mut(shape.arguments);
    *place.expect("the arguments of the first call") = arguments;
    let tool = tool_fn("list", async |list: List| Ok::<_, ToolError>(list.all));
    let mut calls = (shape.calls)(&message).into_iter();
    let first = calls.next().expect("a call").run(tool.clone()).await;
    let second = calls.next().expect("another call").run(tool).await;
    assert_eq!((second.id(), &*second.text()), ("call_2", "true"));
    assert_eq!(first.id(), id);
    assert!(first.text().chars().count() < 1_000, "{}", first.text());
    first
}

fn kind(result: &ModelResult) -> ErrorKind {
    result.result().expect_err("an error").kind()
}

#[tokio::test]
async fn arguments_that_nest_deep_are_invalid_and_overflow_no_stack() {
    let text = Value::from("[".repeat(10_000));
    let deep = || (0..10_000).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
    for shape in SHAPES {
        for (arguments, why) in [
            (text.clone(), "at `.`: not JSON: recursion limit exceeded"),
            (deep(), "at `.`: nests deeper than 128 levels"),
        ] {
            let result = run(shape, "call_1", "list", arguments).await;
            assert_eq!(kind(&result), ErrorKind::InvalidArguments);
            assert!(result.text().contains(why), "{}", result.text());
        }
    }
}

#[tokio::test]
async fn names_ids_and_keys_of_a_mebibyte_are_typed_errors() {
    let long = "\u{e9}".repeat(MIB / 2);
    for shape in SHAPES {
        let named = run(shape, "call_1", &long, Value::Null).await;
        assert_eq!(kind(&named), ErrorKind::UnknownTool);
        let error = named.result().expect_err("an error");
        assert_eq!(error.tool().map(str::len), Some(MAX_NAME));

        // The result has the id as it was sent.
        let with_id = run(shape, &long, "list", Value::Null).await;
        assert_eq!(kind(&with_id), ErrorKind::InvalidArguments);
        assert!(with_id.text().contains("at `id`: longer than 256 bytes"));

        let text = format!(r#"{{"{long}": 1}}"#);
        let keyed = run(shape, "call_1", "list", json!(text)).await;
        assert_eq!(kind(&keyed), ErrorKind::InvalidArguments);
        assert!(keyed.text().contains("unknown field"), "{}", keyed.text());
    }
}

#[tokio::test]
async fn names_and_ids_up_to_the_bound_are_accepted() {
    let longest = "n".repeat(MAX_NAME);
    for shape in SHAPES {
        let result = run(shape, &longest, &longest, Value::Null).await;
        assert_eq!(result.text(), "false");
    }
}
