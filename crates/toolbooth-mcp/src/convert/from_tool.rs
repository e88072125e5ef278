//! The description of a remote tool.

use rmcp::model::Tool;
use serde_json::Value;
use toolbooth::{ToolAnnotations, ToolSpec};

/// Converts a description, with another name.
pub(crate) fn from_tool(tool: Tool, name: &str) -> ToolSpec {
    let schema = Value::Object((*tool.input_schema).clone());
    let mut spec = ToolSpec::new(name).with_input_schema(schema);
    let mut title = tool.title;
    if let Some(hints) = tool.annotations {
        title = title.or(hints.title);
        let mut annotations = ToolAnnotations::new();
        if let Some(hint) = hints.read_only_hint {
            annotations = annotations.with_read_only(hint);
        }
        if let Some(hint) = hints.destructive_hint {
            annotations = annotations.with_destructive(hint);
        }
        if let Some(hint) = hints.idempotent_hint {
            annotations = annotations.with_idempotent(hint);
        }
        if let Some(hint) = hints.open_world_hint {
            annotations = annotations.with_open_world(hint);
        }
        spec = spec.with_annotations(annotations);
    }
    if let Some(title) = title {
        spec = spec.with_title(title);
    }
    if let Some(description) = tool.description {
        spec = spec.with_description(description);
    }
    if let Some(schema) = tool.output_schema {
        spec = spec.with_output_schema(Value::Object((*schema).clone()));
    }
    spec
}
