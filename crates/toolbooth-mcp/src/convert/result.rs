//! Responses as results.

use rmcp::model::{CallToolResult, ContentBlock, MetaObject};
use serde_json::{Map, Value};
use toolbooth::Collected;

use super::block::to_block;
use super::relay::{BLOCKS, STRUCTURED, to_block as relayed_block};

/// Converts a response. `structured` is the value for structured content, if there is one.
///
/// Of a response of a remote tool, the blocks are those that its server sent.
pub(crate) fn to_result(collected: &Collected, structured: Option<&Value>) -> CallToolResult {
    let mut meta = collected.meta().cloned().unwrap_or_default();
    let rests = match meta.remove(BLOCKS) {
        Some(Value::Object(rests)) => rests,
        _ => Map::new(),
    };
    meta.remove(STRUCTURED);
    let contents = collected.contents().iter().enumerate();
    let blocks = contents.filter_map(|(at, content)| match rests.get(&at.to_string()) {
        // It stands for no block.
        Some(Value::Null) => None,
        Some(rest) => relayed_block(content, rest).or_else(|| Some(to_block(content, at))),
        None => Some(to_block(content, at)),
    });
    let blocks: Vec<ContentBlock> = blocks.collect();
    let mut result = match collected.is_error() {
        true => CallToolResult::error(blocks),
        false => CallToolResult::success(blocks),
    };
    result.structured_content = structured.cloned();
    result.meta = (!meta.is_empty()).then_some(MetaObject(meta));
    result
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use toolbooth::ToolOutput;

    use super::super::relay::from_result;
    use super::*;

    async fn relayed(result: &Value) -> CallToolResult {
        let received = serde_json::from_value(result.clone()).expect("a result");
        let output = from_result(received);
        let structured = output.meta().and_then(|meta| meta.get(STRUCTURED).cloned());
        let collected = output.collect().await.expect("a buffered response");
        to_result(&collected, structured.as_ref())
    }

    #[tokio::test]
    async fn the_result_of_a_remote_tool_is_the_same_again() {
        let link = json!({ "type": "resource_link", "uri": "file:///a", "name": "a" });
        for result in [
            json!({
                "content": [{ "type": "text", "text": "mild" }, link],
                "structuredContent": { "celsius": 22 },
                "isError": false,
                "_meta": { "k": 1 },
                "resultType": "complete",
            }),
            json!({
                "content": [], "structuredContent": { "n": 1 }, "isError": true,
                "resultType": "complete",
            }),
        ] {
            let again = relayed(&result).await;
            assert_eq!(serde_json::to_value(again).expect("serializes"), result);
        }
    }

    #[tokio::test]
    async fn contents_that_a_layer_has_changed_have_blocks_of_their_own() {
        let link = json!({ "type": "resource_link", "uri": "file:///a", "name": "a" });
        let received = serde_json::from_value(json!({ "content": [link] })).expect("a result");
        let collected = from_result(received).collect().await.expect("buffered");
        let changed = collected.with_contents(vec!["[a link]".into()]);
        let result = to_result(&changed, None);
        assert_eq!(result.content, [ContentBlock::text("[a link]")]);
        assert_eq!(result.meta, None);
        let text = ToolOutput::text("hi").collect().await.expect("buffered");
        assert_eq!(to_result(&text, None).content, [ContentBlock::text("hi")]);
    }
}
