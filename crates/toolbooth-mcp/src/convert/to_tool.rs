//! The description of a tool of ours.

use std::sync::Arc;

use rmcp::model::{JsonObject, Tool, ToolAnnotations as Hints};
use serde_json::{Value, json};
use toolbooth::{ToolAnnotations, ToolSpec};

/// Converts a description. The schema of arguments gets the type `object` if it has none, as the
/// protocol demands.
pub(crate) fn to_tool(spec: &ToolSpec) -> Tool {
    let description = spec.description().map(|text| text.to_owned().into());
    let mut tool = Tool::new_with_raw(
        spec.name().to_owned(),
        description,
        input_schema(spec.input_schema()),
    );
    tool.title = spec.title().map(str::to_owned);
    tool.output_schema = match spec.output_schema() {
        Some(Value::Object(schema)) => Some(Arc::new(schema.clone())),
        _ => None,
    };
    tool.annotations = hints(spec.hints());
    tool
}

fn input_schema(schema: &Value) -> JsonObject {
    let mut object = match schema {
        Value::Object(object) => object.clone(),
        Value::Bool(false) => JsonObject::from_iter([("not".to_owned(), json!({}))]),
        _ => JsonObject::new(),
    };
    object
        .entry("type")
        .or_insert_with(|| Value::from("object"));
    object
}

/// Returns the hints that are set, if there are any. They have the same JSON on both sides.
fn hints(annotations: ToolAnnotations) -> Option<Hints> {
    let hints = serde_json::to_value(annotations).ok()?;
    let hints: Hints = serde_json::from_value(hints).ok()?;
    (hints != Hints::default()).then_some(hints)
}

#[cfg(test)]
mod tests {
    use super::super::from_tool;
    use super::*;

    #[test]
    fn a_description_survives_the_way_out_and_in() {
        let hints = ToolAnnotations::new()
            .with_read_only(true)
            .with_open_world(false);
        let spec = ToolSpec::new("search")
            .with_title("Search")
            .with_description("Finds files")
            .with_input_schema(json!({ "type": "object", "required": ["pattern"] }))
            .with_output_schema(json!({ "type": "object" }))
            .with_annotations(hints);
        assert_eq!(from_tool(to_tool(&spec), "search"), spec);
        let bare = ToolSpec::new("bare");
        assert_eq!(from_tool(to_tool(&bare), "bare"), bare);
        assert_eq!(to_tool(&bare).annotations, None);
    }

    #[test]
    fn the_schema_of_arguments_is_of_an_object() {
        let schema = |schema| {
            let spec = ToolSpec::new("any").with_input_schema(schema);
            Value::Object((*to_tool(&spec).input_schema).clone())
        };
        assert_eq!(schema(json!(true)), json!({ "type": "object" }));
        assert_eq!(schema(json!(false)), json!({ "type": "object", "not": {} }));
        let one_of = json!({ "oneOf": [{ "required": ["a"] }] });
        assert_eq!(schema(one_of)["type"], "object");
    }
}
