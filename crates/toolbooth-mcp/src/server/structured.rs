//! Structured content: the JSON value of a response.

use std::borrow::Cow;

use serde_json::Value;
use toolbooth::toolbox::ResolvedTool;
use toolbooth::{Collected, Content, ToolError};

use super::collect::Failed;
use crate::convert::relay::STRUCTURED;

/// The error of a response that does not match the schema of its tool.
#[derive(Debug, thiserror::Error)]
#[error("the response does not match the output schema of the tool: {0}")]
struct Mismatch(String);

/// Returns the value that is the structured content of a response.
///
/// Of a tool with an output schema it is the only JSON value of the response, which must match the
/// schema. A response of one text is a string. Of other tools it is an object that is the whole
/// response. Of a remote tool it is what its server sent. Otherwise, a response that reports a
/// failure has none.
///
/// `objects_only` is set for the versions of the protocol in which it must be an object.
pub(super) fn structured<'a>(
    tool: &ResolvedTool,
    collected: &'a Collected,
    objects_only: bool,
) -> Result<Option<Cow<'a, Value>>, Failed> {
    let relayed = collected.meta().and_then(|meta| meta.get(STRUCTURED));
    if collected.is_error() {
        let relayed = relayed.filter(|value| !objects_only || value.is_object());
        return Ok(relayed.map(Cow::Borrowed));
    }
    let contents = collected.contents();
    let value = match relayed {
        Some(value) => Cow::Borrowed(value),
        None => match tool.spec().output_schema() {
            None => match contents {
                [Content::Json(value @ Value::Object(_))] => return Ok(Some(Cow::Borrowed(value))),
                _ => return Ok(None),
            },
            Some(_) => only_value(contents).map_err(|message| failed(message.to_owned()))?,
        },
    };
    match tool.check_output(&value) {
        Ok(()) if objects_only && !value.is_object() => Ok(None),
        Ok(()) => Ok(Some(value)),
        Err(mismatch) => Err(failed(mismatch.to_string())),
    }
}

fn only_value(contents: &[Content]) -> Result<Cow<'_, Value>, &'static str> {
    if let [Content::Text(text)] = contents {
        return Ok(Cow::Owned(Value::from(text.as_str())));
    }
    let mut values = contents.iter().filter_map(|content| match content {
        Content::Json(value) => Some(value),
        _ => None,
    });
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(Cow::Borrowed(value)),
        (None, _) => Err("it has no JSON value"),
        (Some(_), Some(_)) => Err("it has several JSON values"),
    }
}

fn failed(message: String) -> Failed {
    let note = format!("Its response does not match its output schema: {message}.");
    Failed {
        note: Some(note),
        ..Failed::from(ToolError::failed(Mismatch(message)))
    }
}
