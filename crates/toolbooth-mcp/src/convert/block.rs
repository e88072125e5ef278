//! Contents as content blocks.
//!
//! | content | block |
//! |---|---|
//! | text | text |
//! | JSON | text, the JSON of the value |
//! | data of `image/*`, `audio/*` | image, audio |
//! | other data | embedded resource: text if the media type is `text/*`, otherwise a blob |

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rmcp::model::{ContentBlock, ResourceContents};
use toolbooth::Content;

/// Converts the contents of a result.
pub(super) fn to_blocks<'a>(contents: impl IntoIterator<Item = &'a Content>) -> Vec<ContentBlock> {
    let contents = contents.into_iter().enumerate();
    contents
        .map(|(at, content)| to_block(content, at))
        .collect()
}

/// Converts a content. `position` is in the URI of a resource: its place in the result.
pub(super) fn to_block(content: &Content, position: usize) -> ContentBlock {
    let Content::Data { media_type, bytes } = content else {
        return ContentBlock::text(content.to_text());
    };
    let encoded = || BASE64_STANDARD.encode(bytes);
    let has_type = |prefix: &str| {
        let start = media_type.get(..prefix.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    if has_type("image/") {
        return ContentBlock::image(encoded(), media_type);
    }
    if has_type("audio/") {
        return ContentBlock::audio(encoded(), media_type);
    }
    let uri = format!("toolbooth:item/{position}");
    let text = std::str::from_utf8(bytes).ok();
    let resource = match text.filter(|_| has_type("text/")) {
        Some(text) => ResourceContents::text(text, uri),
        None => ResourceContents::blob(encoded(), uri),
    };
    ContentBlock::resource(resource.with_mime_type(media_type))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_content_has_its_block() {
        let json_of = |content: &Content| {
            let block = to_block(content, 3);
            serde_json::to_value(block).expect("a block serializes")
        };
        let png = Content::data("image/png", vec![1, 2]);
        let expected = json!({ "type": "image", "data": "AQI=", "mimeType": "image/png" });
        assert_eq!(json_of(&png), expected);
        let wav = Content::data("Audio/wav", vec![1]);
        assert_eq!(json_of(&wav)["type"], "audio");
        let json = Content::Json(json!({ "n": 1 }));
        assert_eq!(
            json_of(&json),
            json!({ "type": "text", "text": r#"{"n":1}"# })
        );
        let csv = Content::data("text/csv", "a,b");
        let resource = json!({ "uri": "toolbooth:item/3", "mimeType": "text/csv", "text": "a,b" });
        assert_eq!(
            json_of(&csv),
            json!({ "type": "resource", "resource": resource })
        );
        let pdf = Content::data("application/pdf", vec![0xff]);
        assert_eq!(json_of(&pdf)["resource"]["blob"], "/w==");
        // Not UTF-8.
        let text = Content::data("text/plain", vec![0xff]);
        assert_eq!(json_of(&text)["resource"]["blob"], "/w==");
    }
}
