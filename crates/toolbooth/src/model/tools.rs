use serde_json::{Map, Value};

use crate::toolbox::ToolSpec;

/// Returns what the model reads of a tool: the description, otherwise the title.
pub(super) fn description(spec: &ToolSpec) -> Option<&str> {
    spec.description().or_else(|| spec.title())
}

/// Returns the JSON Schema of the arguments as the APIs accept it: of an object, with properties.
pub(super) fn parameters(spec: &ToolSpec) -> Value {
    let mut schema = match spec.input_schema() {
        Value::Object(schema) => schema.clone(),
        // The schema `true` accepts any arguments.
        _ => Map::new(),
    };
    schema.entry("type").or_insert_with(|| "object".into());
    schema
        .entry("properties")
        .or_insert_with(|| Map::new().into());
    Value::Object(schema)
}
