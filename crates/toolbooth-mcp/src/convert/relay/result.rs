//! The result of a remote tool as a response.

use rmcp::model::CallToolResult;
use serde_json::{Map, Value};
use toolbooth_core::{Content, ToolOutput};

use super::block::{from_block, from_json};
use super::{BLOCKS, STRUCTURED};

/// Converts a result. A server makes the same result of the response again.
///
/// The structured content is in the metadata beside that of the result, since servers repeat it as
/// text. If there is no other content, it is the content as well.
pub(crate) fn from_result(result: CallToolResult) -> ToolOutput {
    let blocks = result.content.into_iter().map(from_block);
    let meta = result.meta.map(|meta| meta.0).unwrap_or_default();
    output(
        blocks.collect(),
        result.structured_content,
        result.is_error == Some(true),
        meta,
    )
}

/// Converts a result with blocks of types that are not known, as JSON. `None` if it is not the
/// result of a tool.
pub(crate) fn from_custom_result(mut result: Value) -> Option<ToolOutput> {
    let result = result.as_object_mut()?;
    let Some(Value::Array(blocks)) = result.remove("content") else {
        return None;
    };
    let blocks = blocks.into_iter().map(|block| match block {
        Value::Object(block) => from_json(block),
        other => (Content::Json(other), None),
    });
    let meta = match result.remove("_meta") {
        Some(Value::Object(meta)) => meta,
        _ => Map::new(),
    };
    let is_error = result.get("isError") == Some(&Value::Bool(true));
    Some(output(
        blocks.collect(),
        result.remove("structuredContent"),
        is_error,
        meta,
    ))
}

fn output(
    blocks: Vec<(Content, Option<Value>)>,
    structured: Option<Value>,
    is_error: bool,
    mut meta: Map<String, Value>,
) -> ToolOutput {
    // They are ours, whatever the server sends.
    meta.remove(BLOCKS);
    meta.remove(STRUCTURED);
    let mut rests = Map::new();
    let mut contents = Vec::with_capacity(blocks.len().max(1));
    for (index, (content, rest)) in blocks.into_iter().enumerate() {
        if let Some(rest) = rest {
            rests.insert(index.to_string(), rest);
        }
        contents.push(content);
    }
    if let (true, Some(structured)) = (contents.is_empty(), &structured) {
        contents.push(Content::Json(structured.clone()));
        // It stands for no block.
        rests.insert("0".to_owned(), Value::Null);
    }
    if !rests.is_empty() {
        meta.insert(BLOCKS.to_owned(), Value::Object(rests));
    }
    if let Some(structured) = structured {
        meta.insert(STRUCTURED.to_owned(), structured);
    }
    let output = ToolOutput::contents(contents).with_is_error(is_error);
    meta.into_iter()
        .fold(output, |output, (key, value)| output.with_meta(key, value))
}
