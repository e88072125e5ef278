//! The shapes of OpenAI Chat Completions, which many other servers accept as well.

use serde_json::{Value, json};

#[cfg(feature = "toolbox")]
use super::tools::{description, parameters};
use super::{MessageError, ModelCall, ModelResult};
#[cfg(feature = "toolbox")]
use crate::toolbox::ToolSpec;

/// Writes the definitions of tools, for the field `tools` of a request.
///
/// ```
/// use serde_json::json;
/// use toolbooth::ToolSpec;
/// use toolbooth::model::openai_chat;
///
/// let list = ToolSpec::new("list").with_description("Lists the files");
/// assert_eq!(
///     openai_chat::tools(&[list]),
///     [json!({
///         "type": "function",
///         "function": {
///             "name": "list",
///             "description": "Lists the files",
///             "parameters": { "type": "object", "properties": {} },
///         },
///     })]
/// );
/// ```
#[cfg(feature = "toolbox")]
#[must_use]
pub fn tools(specs: &[ToolSpec]) -> Vec<Value> {
    let function = |spec| {
        let mut function = json!({ "name": ToolSpec::name(spec), "parameters": parameters(spec) });
        if let Some(description) = description(spec) {
            function["description"] = description.into();
        }
        json!({ "type": "function", "function": function })
    };
    specs.iter().map(function).collect()
}

/// Reads the calls of a message of the assistant: `choices[0].message` of a response.
///
/// A message without `tool_calls` has none. A tool call that is not a function gets an error.
///
/// # Errors
/// The value is not a message, or `tool_calls` is not a list.
pub fn calls(message: &Value) -> Result<Vec<ModelCall>, MessageError> {
    if !message.get("role").is_some_and(Value::is_string) {
        return Err(MessageError::new(
            "a message with a `role`, such as `choices[0].message` of a response",
        ));
    }
    match message.get("tool_calls") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(calls)) => Ok(calls.iter().map(call).collect()),
        Some(_) => Err(MessageError::new("a list in `tool_calls`")),
    }
}

fn call(item: &Value) -> ModelCall {
    let function = item.get("function");
    let field = |name| function.and_then(|function| function.get(name));
    ModelCall::read(item.get("id"), field("name"), field("arguments"))
}

/// Writes the message with the role `tool` for the result of a call.
///
/// The shape has no flag for errors and no images: the text has both.
#[must_use]
pub fn result(result: &ModelResult) -> Value {
    json!({
        "role": "tool",
        "tool_call_id": result.id(),
        "content": result.text(),
    })
}
