//! The shapes of Anthropic Messages.

use serde_json::{Value, json};

use super::message::is_type;
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
/// use toolbooth::model::anthropic;
///
/// let list = ToolSpec::new("list").with_description("Lists the files");
/// assert_eq!(
///     anthropic::tools(&[list]),
///     [json!({
///         "name": "list",
///         "description": "Lists the files",
///         "input_schema": { "type": "object", "properties": {} },
///     })]
/// );
/// ```
#[cfg(feature = "toolbox")]
#[must_use]
pub fn tools(specs: &[ToolSpec]) -> Vec<Value> {
    let tool = |spec| {
        let mut tool = json!({ "name": ToolSpec::name(spec), "input_schema": parameters(spec) });
        if let Some(description) = description(spec) {
            tool["description"] = description.into();
        }
        tool
    };
    specs.iter().map(tool).collect()
}

/// Reads the calls of a message of the assistant: the blocks `tool_use` of its `content`.
///
/// Other blocks, such as text, thinking and tools that the API runs itself, are ignored.
///
/// # Errors
/// The value has no `content` that is a text or a list.
pub fn calls(message: &Value) -> Result<Vec<ModelCall>, MessageError> {
    match message.get("content") {
        Some(Value::String(_)) => Ok(Vec::new()),
        Some(Value::Array(blocks)) => {
            let calls = blocks.iter().filter(|block| is_type(block, "tool_use"));
            Ok(calls.map(call).collect())
        }
        _ => Err(MessageError::new(
            "a message with a text or a list in `content`",
        )),
    }
}

fn call(block: &Value) -> ModelCall {
    ModelCall::read(block.get("id"), block.get("name"), block.get("input"))
}

/// Writes the block `tool_result` for the result of a call.
///
/// The results of all calls of a message are in the `content` of one message of the user, before
/// any text:
///
/// ```
/// use serde::Deserialize;
/// use serde_json::json;
/// use toolbooth::model::anthropic;
/// use toolbooth::{ToolError, tool_fn};
///
/// #[derive(Deserialize)]
/// struct Double { number: i64 }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), toolbooth::BoxError> {
/// let double = tool_fn("double", async |Double { number }| Ok::<_, ToolError>(2 * number));
/// let message = json!({
///     "role": "assistant",
///     "content": [
///         { "type": "text", "text": "I double both." },
///         { "type": "tool_use", "id": "toolu_1", "name": "double", "input": { "number": 21 } },
///         { "type": "tool_use", "id": "toolu_2", "name": "double", "input": { "number": 2 } },
///     ],
/// });
/// let mut results = Vec::new();
/// for call in anthropic::calls(&message)? {
///     results.push(anthropic::result(&call.run(double.clone()).await));
/// }
/// let reply = json!({ "role": "user", "content": results });
/// assert_eq!(
///     reply["content"][1],
///     json!({ "type": "tool_result", "tool_use_id": "toolu_2", "content": "4" })
/// );
/// # Ok(()) }
/// ```
#[must_use]
pub fn result(result: &ModelResult) -> Value {
    let content = result.content(
        |text| json!({ "type": "text", "text": text }),
        |image| {
            json!({
                "type": "image",
                "source": {
                    "type": "base64",
                    "media_type": image.media_type,
                    "data": image.base64(),
                },
            })
        },
    );
    let mut block = json!({
        "type": "tool_result",
        "tool_use_id": result.id(),
        "content": content,
    });
    if result.is_error() {
        block["is_error"] = Value::Bool(true);
    }
    block
}
