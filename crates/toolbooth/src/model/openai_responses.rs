//! The shapes of OpenAI Responses.

use serde_json::{Value, json};

use super::message::is_type;
use super::{MessageError, ModelCall, ModelResult};

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
