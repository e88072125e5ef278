//! The shapes of OpenAI Responses.

use serde_json::{Value, json};

use super::message::is_type;
#[cfg(feature = "toolbox")]
use super::tools::{description, parameters};
use super::{MessageError, ModelCall, ModelResult};
#[cfg(feature = "toolbox")]
use crate::toolbox::ToolSpec;

/// Writes the definitions of tools, for the field `tools` of a request.
///
/// They are not strict: the strict mode, which is the default of the API, accepts a part of JSON
/// Schema only.
///
/// ```
/// use serde_json::json;
/// use toolbooth::ToolSpec;
/// use toolbooth::model::openai_responses;
///
/// let list = ToolSpec::new("list").with_description("Lists the files");
/// assert_eq!(
///     openai_responses::tools(&[list]),
///     [json!({
///         "type": "function",
///         "name": "list",
///         "description": "Lists the files",
///         "parameters": { "type": "object", "properties": {} },
///         "strict": false,
///     })]
/// );
/// ```
#[cfg(feature = "toolbox")]
#[must_use]
pub fn tools(specs: &[ToolSpec]) -> Vec<Value> {
    let tool = |spec| {
        let mut tool = json!({
            "type": "function",
            "name": ToolSpec::name(spec),
            "parameters": parameters(spec),
            "strict": false,
        });
        if let Some(description) = description(spec) {
            tool["description"] = description.into();
        }
        tool
    };
    specs.iter().map(tool).collect()
}

/// Reads the calls of the `output` of a response: its items of the type `function_call`.
///
/// Other items, such as messages, reasoning and tools that the API runs itself, are ignored.
///
/// # Errors
/// The value is not a list.
pub fn calls(output: &Value) -> Result<Vec<ModelCall>, MessageError> {
    let items = output.as_array();
    let items = items.ok_or(MessageError::new("the list `output` of a response"))?;
    let calls = items.iter().filter(|item| is_type(item, "function_call"));
    Ok(calls.map(call).collect())
}

fn call(item: &Value) -> ModelCall {
    // `id` is the id of the item.
    ModelCall::read(item.get("call_id"), item.get("name"), item.get("arguments"))
}

/// Writes the item `function_call_output` for the result of a call.
///
/// The shape has no flag for errors: the text has it.
#[must_use]
pub fn result(result: &ModelResult) -> Value {
    let output = result.content(
        |text| json!({ "type": "input_text", "text": text }),
        |image| {
            let url = format!("data:{};base64,{}", image.media_type, image.base64());
            json!({ "type": "input_image", "image_url": url })
        },
    );
    json!({
        "type": "function_call_output",
        "call_id": result.id(),
        "output": output,
    })
}
