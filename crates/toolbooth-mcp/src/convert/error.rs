//! Errors of calls as results.

use rmcp::model::{CallToolResult, ContentBlock, MetaObject};
use serde_json::{Map, Value, json};
use toolbooth::{Content, ToolError};

use super::ERROR_META_KEY;
use super::block::to_blocks;

/// Converts the error of a call into a result for a model: partial contents first, then what
/// happened, and the [report](toolbooth::ErrorReport::for_client) in `_meta`.
///
/// `received` are the items of a streaming response that the adapter received before the error.
/// They are used where the error has no partial result of its own. `note` is another sentence.
pub(crate) fn error_result(
    error: &ToolError,
    received: &[Content],
    note: Option<&str>,
) -> CallToolResult {
    let partial = error.partial();
    let kept = partial.map(|partial| match (partial.contents(), partial.snapshot()) {
        ([], Some(snapshot)) => std::slice::from_ref(snapshot),
        (contents, _) => contents,
    });
    let items = match kept {
        Some(kept) if kept.len() >= received.len() => kept,
        _ => received,
    };
    let dropped = partial.map_or(0, |partial| partial.dropped());
    let mut blocks = to_blocks(items);
    let mut text = sentence(error, items.len(), dropped);
    if let Some(note) = note {
        text = format!("{text} {note}");
    }
    blocks.push(ContentBlock::text(text));

    let mut report = match serde_json::to_value(error.report().for_client()) {
        Ok(Value::Object(report)) => report,
        _ => Map::new(),
    };
    report.remove("partial");
    if !items.is_empty() || dropped > 0 {
        let delivered = partial.map_or(0, |partial| partial.delivered());
        let counts = json!({ "items": items.len(), "dropped": dropped, "delivered": delivered });
        report.insert("partial".to_owned(), counts);
    }
    let mut meta = MetaObject::new();
    meta.0.insert(ERROR_META_KEY.to_owned(), report.into());
    CallToolResult::error(blocks).with_meta(Some(meta))
}

fn sentence(error: &ToolError, items: usize, dropped: u64) -> String {
    let message = error.model_message();
    let missing = match dropped {
        0 => String::new(),
        1 => ", 1 of its items is missing".to_owned(),
        dropped => format!(", {dropped} of its items are missing"),
    };
    match items {
        0 => message,
        _ => format!("The content above is incomplete{missing}. {message}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_error_has_its_partial_contents_first_and_its_report_in_meta() {
        let error = ToolError::rate_limited(Duration::from_micros(1_500));
        let result = error_result(&error, &["page 1".into()], None);
        let json = serde_json::to_value(result).expect("a result serializes");
        assert_eq!(json["isError"], true);
        assert_eq!(json["content"][0]["text"], "page 1");
        assert_eq!(
            json["content"][1]["text"],
            "The content above is incomplete. The call of the tool was rejected, because there \
             were too many calls. The tool had not started, so the call had no effect. Try again \
             in 2 ms."
        );
        let expected = json!({
            "kind": "rate_limited",
            "message": "too many calls, try again in 2ms",
            "started": false,
            "retryable": true,
            "retry_after_ms": 2,
            "partial": { "items": 1, "dropped": 0, "delivered": 0 },
        });
        assert_eq!(json["_meta"][ERROR_META_KEY], expected);
    }

    #[test]
    fn an_error_of_a_tool_has_no_details() {
        let error = ToolError::failed("no route to postgres://admin:hunter2@db");
        let json = serde_json::to_string(&error_result(&error, &[], None)).expect("serializes");
        assert!(!json.contains("hunter2"), "{json}");
    }
}
