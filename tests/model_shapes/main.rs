//! Calls and results in the shapes of language models.
//!
//! The files in `golden` have what a model reads of each end of a call, in each shape.

mod bad_input;
mod calls;
mod ends;
mod results;
mod tools;

use serde_json::{Value, json};
use toolbooth::model::{ModelCall, ModelResult, anthropic, openai_chat, openai_responses};

/// The shapes: the message that requests calls, given as id, name and arguments, and the functions.
#[derive(Clone, Copy)]
struct Shape {
    golden: &'static str,
    /// The name of the field that has the id in a result.
    id: &'static str,
    /// The JSON pointer to the arguments of the first call of a message.
    arguments: &'static str,
    item: fn(&str, &str, Value) -> Value,
    message: fn(Vec<Value>) -> Value,
    calls: fn(&Value) -> Vec<ModelCall>,
    result: fn(&ModelResult) -> Value,
}

const SHAPES: [Shape; 3] = [
    Shape {
        golden: include_str!("golden/openai_chat.json"),
        id: "tool_call_id",
        arguments: "/tool_calls/0/function/arguments",
        item: |id, name, arguments| {
            json!({
                "id": id,
                "type": "function",
                "function": { "name": name, "arguments": arguments },
            })
        },
        message: |items| json!({ "role": "assistant", "content": null, "tool_calls": items }),
        calls: |message| openai_chat::calls(message).expect("a message"),
        result: openai_chat::result,
    },
    Shape {
        golden: include_str!("golden/openai_responses.json"),
        id: "call_id",
        arguments: "/0/arguments",
        item: |id, name, arguments| {
            json!({
                "type": "function_call",
                "id": "fc_1",
                "call_id": id,
                "name": name,
                "arguments": arguments,
                "status": "completed",
            })
        },
        message: Value::Array,
        calls: |output| openai_responses::calls(output).expect("a list"),
        result: openai_responses::result,
    },
    Shape {
        golden: include_str!("golden/anthropic.json"),
        id: "tool_use_id",
        arguments: "/content/0/input",
        item: |id, name, arguments| json!({ "type": "tool_use", "id": id, "name": name, "input": arguments }),
        message: |blocks| json!({ "role": "assistant", "content": blocks }),
        calls: |message| anthropic::calls(message).expect("a message"),
        result: anthropic::result,
    },
];

// === impl Shape ===

impl Shape {
    /// Reads one call.
    fn call(&self, name: &str, arguments: Value) -> ModelCall {
        let item = (self.item)("call_1", name, arguments);
        let mut calls = (self.calls)(&(self.message)(vec![item]));
        assert_eq!(calls.len(), 1);
        calls.remove(0)
    }
}
