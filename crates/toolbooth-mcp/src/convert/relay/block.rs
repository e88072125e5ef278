//! Content blocks of MCP as contents, without loss.
//!
//! A [`Content`] has fewer kinds than MCP, and no annotations. What it does not have of a block is
//! the rest: the JSON of the block without its text or its bytes. The content and the rest together
//! are the block again.
//!
//! | block | content | rest |
//! |---|---|---|
//! | text | the text | none, unless the block has annotations or metadata |
//! | image, audio | its bytes | the same; the media type tells images and audio apart |
//! | embedded resource | its text or its bytes | the block without them |
//! | resource link, and bytes that are not canonical base64 | the JSON of the block | its type |

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rmcp::model::ContentBlock;
use serde_json::{Map, Value, json};
use toolbooth_core::Content;

/// The media type of a resource that has none.
const UNKNOWN_MEDIA_TYPE: &str = "application/octet-stream";

/// Converts a block into a content, and what the content does not have of it.
pub(super) fn from_block(block: ContentBlock) -> (Content, Option<Value>) {
    match block {
        ContentBlock::Text(block) if block.meta.is_none() && block.annotations.is_none() => {
            (Content::Text(block.text), None)
        }
        ContentBlock::Image(block) if block.meta.is_none() && block.annotations.is_none() => {
            match decoded(&block.data) {
                Some(bytes) if block.mime_type.starts_with("image/") => {
                    (Content::data(block.mime_type, bytes), None)
                }
                _ => from_json(to_json(&ContentBlock::Image(block))),
            }
        }
        ContentBlock::Audio(block) if block.meta.is_none() && block.annotations.is_none() => {
            match decoded(&block.data) {
                Some(bytes) if block.mime_type.starts_with("audio/") => {
                    (Content::data(block.mime_type, bytes), None)
                }
                _ => from_json(to_json(&ContentBlock::Audio(block))),
            }
        }
        block => from_json(to_json(&block)),
    }
}

/// Converts the JSON of a block, as [`from_block`].
pub(super) fn from_json(mut block: Map<String, Value>) -> (Content, Option<Value>) {
    let kind = block
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let content = match kind {
        "text" => take_text(&mut block),
        "image" | "audio" => take_bytes(&mut block, "data"),
        "resource" => match block.get_mut("resource") {
            Some(Value::Object(resource)) => {
                take_text(resource).or_else(|| take_bytes(resource, "blob"))
            }
            _ => None,
        },
        _ => None,
    };
    match content {
        Some(content) => (content, Some(Value::Object(block))),
        None => {
            let rest = json!({ "type": block.get("type") });
            (Content::Json(Value::Object(block)), Some(rest))
        }
    }
}

/// Converts a content and the rest of its block into the block that they were. `None` if they do
/// not fit, such as after a layer has changed the contents.
pub(crate) fn to_block(content: &Content, rest: &Value) -> Option<ContentBlock> {
    let mut block = rest.as_object()?.clone();
    let is_resource = block.get("type").and_then(Value::as_str) == Some("resource");
    let fields = match is_resource {
        true => block.get_mut("resource").and_then(Value::as_object_mut),
        false => Some(&mut block),
    };
    match content {
        Content::Json(whole) if whole.get("type") == rest.get("type") => {
            return serde_json::from_value(whole.clone()).ok();
        }
        Content::Text(text) => {
            fields?.insert("text".to_owned(), Value::String(text.clone()));
        }
        Content::Data { bytes, .. } => {
            let key = if is_resource { "blob" } else { "data" };
            let data = Value::String(BASE64_STANDARD.encode(bytes));
            fields?.insert(key.to_owned(), data);
        }
        _ => return None,
    }
    serde_json::from_value(Value::Object(block)).ok()
}

fn take_text(fields: &mut Map<String, Value>) -> Option<Content> {
    if !fields.get("text")?.is_string() {
        return None;
    }
    match fields.remove("text")? {
        Value::String(text) => Some(Content::Text(text)),
        _ => None,
    }
}

fn take_bytes(fields: &mut Map<String, Value>, key: &str) -> Option<Content> {
    let bytes = decoded(fields.get(key)?.as_str()?)?;
    let media_type = fields.get("mimeType").and_then(Value::as_str);
    let content = Content::data(media_type.unwrap_or(UNKNOWN_MEDIA_TYPE), bytes);
    fields.remove(key);
    Some(content)
}

/// Decodes base64 that encodes to the same text again.
fn decoded(text: &str) -> Option<Vec<u8>> {
    // The decoder rejects other alphabets, missing padding and trailing bits.
    BASE64_STANDARD.decode(text).ok()
}

fn to_json(block: &ContentBlock) -> Map<String, Value> {
    match serde_json::to_value(block) {
        Ok(Value::Object(block)) => block,
        // A block is always an object.
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(block: &Value) -> ContentBlock {
        serde_json::from_value(block.clone()).expect("a block")
    }

    #[test]
    fn each_kind_of_block_is_the_same_again() {
        let annotations = json!({ "audience": ["user"], "priority": 0.5 });
        for block in [
            json!({ "type": "text", "text": "hi" }),
            json!({ "type": "text", "text": "hi", "annotations": annotations }),
            json!({ "type": "text", "text": "hi", "_meta": { "a/b": 1 } }),
            json!({ "type": "image", "data": "iVBORw==", "mimeType": "image/png" }),
            json!({ "type": "image", "data": "iVBORw==", "mimeType": "other" }),
            json!({ "type": "image", "data": "not base64", "mimeType": "image/png" }),
            json!({ "type": "image", "data": "iVBORw", "mimeType": "image/png" }),
            json!({
                "type": "image", "data": "iVBORw==", "mimeType": "image/png",
                "annotations": annotations,
            }),
            json!({ "type": "audio", "data": "AAAA", "mimeType": "audio/wav" }),
            json!({ "type": "audio", "data": "AAAA", "mimeType": "video/mp4" }),
            json!({
                "type": "audio", "data": "AAAA", "mimeType": "audio/wav", "_meta": { "a": 1 },
            }),
            json!({ "type": "resource", "resource": { "uri": "file:///a", "text": "x" } }),
            json!({
                "type": "resource", "annotations": annotations,
                "resource": {
                    "uri": "file:///a", "mimeType": "text/html", "text": "x", "_meta": { "a": 1 },
                },
            }),
            json!({ "type": "resource", "resource": { "uri": "file:///a", "blob": "AAAA" } }),
            json!({ "type": "resource", "resource": { "uri": "file:///a", "blob": "?" } }),
            json!({
                "type": "resource_link", "uri": "file:///a", "name": "a", "title": "A", "size": 7,
                "annotations": annotations, "_meta": { "a": 1 },
            }),
        ] {
            let (content, rest) = from_block(read(&block));
            let again = match &rest {
                Some(rest) => to_block(&content, rest).expect("the same block"),
                None => match &content {
                    Content::Text(text) => ContentBlock::text(text),
                    Content::Data { media_type, bytes } => {
                        let data = BASE64_STANDARD.encode(bytes);
                        match media_type.starts_with("audio/") {
                            true => ContentBlock::audio(data, media_type),
                            false => ContentBlock::image(data, media_type),
                        }
                    }
                    other => panic!("{other:?} without a rest"),
                },
            };
            assert_eq!(again, read(&block), "{content:?} {rest:?}");
        }
    }

    #[test]
    fn a_model_reads_the_text_of_a_resource_and_the_bytes_of_an_image() {
        let contents = json!({ "uri": "file:///a", "text": "x" });
        let resource = json!({ "type": "resource", "resource": contents });
        assert_eq!(from_block(read(&resource)).0, Content::from("x"));
        let image = json!({
            "type": "image", "data": "AAAA", "mimeType": "image/png", "_meta": { "a": 1 },
        });
        let (content, rest) = from_block(read(&image));
        assert_eq!(content, Content::data("image/png", vec![0, 0, 0]));
        let expected = json!({ "type": "image", "mimeType": "image/png", "_meta": { "a": 1 } });
        assert_eq!(rest, Some(expected), "without the bytes");
    }

    #[test]
    fn a_rest_does_not_fit_another_content() {
        let rest = json!({ "type": "resource_link" });
        assert_eq!(to_block(&Content::from("text"), &rest), None);
        assert_eq!(
            to_block(&Content::from(json!({ "type": "text" })), &rest),
            None
        );
        assert_eq!(to_block(&Content::from("text"), &json!(null)), None);
    }
}
