//! What is read of messages.

use serde_json::{Value, json};
use toolbooth::model::{ModelCall, anthropic, openai_chat, openai_responses};
use toolbooth::{ErrorKind, ToolError, ToolOutput, tool_fn};
use toolbooth_test::{BoxTool, boxed};

use super::{SHAPES, Shape};

/// A tool that returns its arguments as JSON.
fn echo() -> BoxTool {
    let echo = async |arguments: Value| Ok::<_, ToolError>(ToolOutput::json(arguments));
    boxed(tool_fn("echo", echo))
}

#[test]
fn arguments_are_a_text_of_json_or_json_or_absent() {
    let pages = json!({ "pages": 3 });
    for (sent, read) in [
        (json!(r#"{"pages": 3}"#), pages.clone()),
        (pages.clone(), pages),
        (json!("{}"), json!({})),
        (json!({}), json!({})),
        (json!(""), Value::Null),
        (json!(" \n"), Value::Null),
        (json!("null"), Value::Null),
        (Value::Null, Value::Null),
    ] {
        for shape in SHAPES {
            let call = shape.call("crawl", sent.clone());
            let call = call.call().expect("a call");
            assert_eq!((call.name(), call.args()), ("crawl", &read), "{sent}");
            assert_eq!(call.context().id(), "call_1");
        }
    }
    let absent = [
        openai_chat::calls(&json!({
            "role": "assistant",
            "tool_calls": [{ "id": "call_1", "function": { "name": "crawl" } }],
        })),
        openai_responses::calls(&json!([
            { "type": "function_call", "call_id": "call_1", "name": "crawl" },
        ])),
        anthropic::calls(&json!({
            "content": [{ "type": "tool_use", "id": "call_1", "name": "crawl" }],
        })),
    ];
    for calls in absent {
        let calls = calls.expect("a message");
        assert_eq!(calls[0].call().expect("a call").args(), &Value::Null);
    }
}

/// One of them is not JSON, and one has no name.
#[tokio::test]
async fn each_call_of_a_message_has_a_result_with_its_id() {
    for shape in SHAPES {
        let message = (shape.message)(vec![
            (shape.item)("call_a", "echo", json!({ "n": 1 })),
            (shape.item)("call_b", "echo", json!("{\"n\": ")),
            (shape.item)("call_c", "", json!({})),
            (shape.item)("call_d", "echo", json!({ "n": 4 })),
        ]);
        let mut results = Vec::new();
        for call in (shape.calls)(&message) {
            results.push(call.run(echo()).await);
        }
        let ids: Vec<_> = results.iter().map(|result| result.id()).collect();
        assert_eq!(ids, ["call_a", "call_b", "call_c", "call_d"]);
        let texts: Vec<_> = results.iter().map(|result| result.text()).collect();
        assert_eq!((&*texts[0], &*texts[3]), (r#"{"n":1}"#, r#"{"n":4}"#));
        assert!(
            texts[1].contains("at `.`: not JSON: EOF while parsing"),
            "{}",
            texts[1]
        );
        assert!(
            texts[2].contains("at `name`: the call has no name"),
            "{}",
            texts[2]
        );
        for failed in &results[1..3] {
            let error = failed.result().expect_err("an error");
            assert_eq!(error.kind(), ErrorKind::InvalidArguments);
            assert_eq!(error.call_id(), Some(failed.id()));
            assert!(!error.started());
        }
    }
}

#[test]
fn message_without_calls_has_none() {
    let none = |calls: Vec<ModelCall>| assert_eq!(calls.len(), 0);
    for message in [
        json!({ "role": "assistant", "content": "Hello." }),
        json!({ "role": "assistant", "content": "Hello.", "tool_calls": null }),
    ] {
        none(openai_chat::calls(&message).expect("a message"));
    }
    let output = json!([
        { "type": "reasoning", "id": "rs_1", "summary": [] },
        { "type": "message", "role": "assistant", "content": [] },
        { "type": "web_search_call", "id": "ws_1", "status": "completed" },
    ]);
    none(openai_responses::calls(&output).expect("a list"));
    for content in [
        json!("Hello."),
        json!([
            { "type": "text", "text": "Hello." },
            { "type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {} },
        ]),
    ] {
        let message = json!({ "role": "assistant", "content": content });
        none(anthropic::calls(&message).expect("a message"));
    }
}

/// A response in place of its message would have no calls.
#[test]
fn value_that_is_no_message_is_a_typed_error() {
    let chat = |value: Value| {
        openai_chat::calls(&value)
            .expect_err("no message")
            .to_string()
    };
    assert_eq!(
        chat(json!({ "choices": [] })),
        "expected a message with a `role`, such as `choices[0].message` of a response"
    );
    assert_eq!(
        chat(json!({ "role": "assistant", "tool_calls": {} })),
        "expected a list in `tool_calls`"
    );
    let error = openai_responses::calls(&json!({ "output": [] })).expect_err("no list");
    assert_eq!(
        error.to_string(),
        "expected the list `output` of a response"
    );
    for value in [
        json!({ "role": "assistant" }),
        json!([]),
        json!({ "content": 7 }),
    ] {
        let error = anthropic::calls(&value).expect_err("no message");
        assert_eq!(
            error.to_string(),
            "expected a message with a text or a list in `content`"
        );
    }
}

#[tokio::test]
async fn call_without_an_id_has_a_result_with_an_empty_one() {
    let Shape {
        item,
        message,
        calls,
        result,
        id,
        ..
    } = SHAPES[0];
    let mut call = item("", "echo", json!("{}"));
    call.as_object_mut().expect("an object").remove("id");
    let call = calls(&message(vec![call])).remove(0);
    assert!(
        call.call()
            .expect("a call")
            .context()
            .id()
            .starts_with("call-")
    );
    assert_eq!(result(&call.run(echo()).await)[id], "");
}

/// The APIs have calls of other types, such as custom tools with a text as input.
#[tokio::test]
async fn call_of_a_type_that_is_not_supported_has_a_result() {
    let message = json!({
        "role": "assistant",
        "tool_calls": [
            { "id": "call_1", "type": "custom", "custom": { "name": "code", "input": "print()" } },
            7,
        ],
    });
    let calls = openai_chat::calls(&message).expect("a message");
    let mut results = Vec::new();
    for call in calls {
        let result = call.run(echo()).await;
        assert!(result.is_error());
        results.push(openai_chat::result(&result)["tool_call_id"].clone());
    }
    assert_eq!(results, ["call_1", ""]);
}

#[tokio::test]
async fn call_that_cannot_be_made_is_not_changed() {
    let changed = |arguments| {
        let call = SHAPES[0].call("echo", arguments);
        call.map(|call| call.with_tenant("acme"))
    };
    let call = changed(json!("{}"));
    let tenant = call.call().expect("a call").context().tenant();
    assert_eq!(tenant, Some("acme"));
    let broken = changed(json!("{"));
    assert_eq!(
        broken.call().expect_err("no JSON").kind(),
        ErrorKind::InvalidArguments
    );
}
